"""However jobs end, times pass, cancels come and the agent stops: one final state, no step twice that may not be."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from device_agent.core.effects import Job, JobKind
from protocol.executions import FINAL, ExecutionState, may_follow
from protocol.safety import Condition
from tests.device_agent.core.desk import Desk
from tests.device_agent.core.invented import DEVICE, FAIL, OTHER, PASS

ACTIONS = st.sampled_from(["test.look", "test.print", "test.mend", "test.probe", "test.once", "test.reboot"])


class ExecutionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.asked: list[str] = []
        self.restarts = 0
        # Which jobs ran a step that may run once: an order is a job of one life of the agent.
        self.once_steps: dict[str, set[tuple[int, int]]] = {}

    @precondition(lambda self: len(self.asked) < 12)
    @rule(action=ACTIONS, device=st.sampled_from([DEVICE, OTHER]))
    def ask(self, action: str, device: str) -> None:
        self.asked.append(self.desk.ask(action, device=DEVICE if device == DEVICE else OTHER, not_after_s=10**6))

    @precondition(lambda self: self.desk.jobs)
    @rule(
        findings=st.sampled_from([PASS, FAIL, ()]),
        error=st.sampled_from(["", "", "", "no_power"]),
        busy=st.booleans(),
        probe=st.sampled_from([True, False, None]),
        boot=st.sampled_from(["boot-1", "boot-2"]),
    )
    def job_ends(self, findings: tuple[()], error: str, busy: bool, probe: bool | None, boot: str) -> None:
        self._note(self.desk.jobs[0])
        held = frozenset({Condition.TRANSACTION_RUNNING}) if busy else frozenset()
        self.desk.done(findings, conditions=held, probe=probe, boot=boot, error=error)

    @precondition(lambda self: self.desk.jobs)
    @rule()
    def job_begins(self) -> None:
        # Begun, whether or not anybody hears how it ended.
        self._note(self.desk.jobs[0])
        self.desk.starts()

    @rule(seconds=st.sampled_from([1.0, 12.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.desk.pass_s(seconds)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        execution = data.draw(st.sampled_from(self.asked))
        self.desk.cancel(execution, self.desk.executions.known[execution].device)

    @rule()
    def agent_stops_dead(self) -> None:
        self.restarts += 1
        self.desk.restart()

    def _note(self, job: Job) -> None:
        if job.kind is JobKind.STEP and job.definition.declared.name in {"test.once", "test.reboot"}:
            self.once_steps.setdefault(job.execution, set()).add((self.restarts, job.serial))

    @invariant()
    def states_only_go_forward_and_final_ones_absorb(self) -> None:
        for execution in self.asked:
            states = [ExecutionState(text) for text in self.desk.states(execution)]
            for before, after in pairwise(states):
                assert after is before or may_follow(before, after), states

    @invariant()
    def what_is_durable_is_what_was_last_said(self) -> None:
        for execution in self.asked:
            assert self.desk.executions.known[execution].state.value == self.desk.states(execution)[-1]

    @invariant()
    def a_once_step_is_ordered_at_most_once(self) -> None:
        assert all(len(orders) == 1 for orders in self.once_steps.values())

    def teardown(self) -> None:
        """Once everything answers, every execution ends."""
        for _ in range(400):
            if self.desk.jobs:
                self.desk.done(PASS, boot="boot-2")
            else:
                self.desk.pass_s(61)
            if not self.desk.executions.open_count():
                break
        assert {self.desk.executions.known[execution].state for execution in self.asked} <= FINAL


ExecutionMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestExecutions = ExecutionMachine.TestCase
