from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from device_agent.actions import Finding
from device_agent.core.command_gate import Accepted
from device_agent.core.effects import AbandonWorker, Job, JobDone, JobKind, RunJob
from device_agent.core.execution import LOOK_AGAIN_S
from device_agent.core.executions import MAX_QUEUED, Executions
from device_agent.core.turns import Moment, Turn
from protocol.commands import CANCEL, Command, DangerClass, ExecutionState
from protocol.identifiers import DeviceId, ExecutionId
from protocol.parameters import ParamValue
from protocol.records import ExecutionReport, Outcome, Phase, Verdict
from protocol.safety import Condition
from tests.device_agent.core.invented import DEFINITIONS, DEVICE, DEVICES, FAIL, OTHER, PASS
from tests.device_agent.core.rig import Clock


@dataclass(slots=True)
class Desk:
    """Executions with a clock; remembers what was said, what was ordered, and what a restart would find."""

    clock: Clock = field(default_factory=Clock)
    rows: dict[str, bytes] = field(default_factory=dict)
    said: list[ExecutionReport | Verdict] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    abandoned: int = 0
    executions: Executions = field(default_factory=lambda: Executions(DEVICES, {}))

    @property
    def moment(self) -> Moment:
        return Moment(self.clock.now, int(self.clock.seconds * 1000))

    def ask(
        self,
        action: str,
        *,
        device: DeviceId = DEVICE,
        skip_if_passing: bool = True,
        not_after_s: float = 1000,
        supersedes: str | None = None,
        **params: ParamValue,
    ) -> str:
        execution = str(uuid.uuid4())
        definition = DEFINITIONS.get(action)
        command = Command(
            version=1,
            audience=device,
            tenant="default",
            execution=execution,
            action=action,
            danger_class=DangerClass.READS if definition is None else definition.declared.danger_class,
            params=params,
            issued_at_ms=0,
            not_after_ms=int(not_after_s * 1000),
            counter=1,
            skip_if_passing=skip_if_passing,
            supersedes=supersedes,
        )
        self.take(self.executions.accept(Accepted(command, definition, params, {}), self.moment))
        return execution

    def cancel(self, execution: str, device: DeviceId = DEVICE) -> None:
        self.ask(CANCEL, device=device, execution=execution)

    def take(self, turn: Turn) -> None:
        self.said += [body for body in turn.bodies if isinstance(body, ExecutionReport | Verdict)]
        for row in self.executions.changed_rows():
            self.rows[row.execution] = row.encoded()
        self.jobs += [effect.job for effect in turn.effects if isinstance(effect, RunJob)]
        self.abandoned += sum(isinstance(effect, AbandonWorker) for effect in turn.effects)

    def done(
        self,
        findings: tuple[Finding, ...] = (),
        *,
        conditions: frozenset[Condition] = frozenset(),
        probe: bool | None = None,
        boot: str = "boot-1",
        error: str = "",
    ) -> None:
        """The oldest job that is out is answered."""
        job = self.jobs.pop(0)
        answer = JobDone(
            job.execution, job.serial, findings, conditions=conditions, probe=probe, boot=boot, error=error
        )
        self.take(self.executions.on_done(answer, self.moment))

    def starts(self) -> None:
        self.executions.on_started(self.jobs[0].execution, self.jobs[0].serial, self.moment)

    def pass_s(self, seconds: float) -> None:
        self.clock.pass_s(seconds)
        self.take(self.executions.on_tick(self.moment))

    def restart(self) -> None:
        """The agent stops dead and starts again from what is durable."""
        self.executions = Executions(DEVICES, self.rows)
        self.jobs.clear()
        self.take(self.executions.recover(self.moment))

    def states(self, execution: str) -> list[str]:
        reports = [one for one in self.said if isinstance(one, ExecutionReport) and one.execution == execution]
        return [one.state.value for one in reports]

    def last(self, execution: str) -> ExecutionReport:
        return [one for one in self.said if isinstance(one, ExecutionReport) and one.execution == execution][-1]

    def verdicts(self) -> list[tuple[Phase, Outcome]]:
        return [(one.phase, one.outcome) for one in self.said if isinstance(one, Verdict)]

    def up_to_step(self, action: str) -> str:
        """A fix whose first step is running."""
        execution = self.ask(action)
        self.done()
        self.done(FAIL)
        assert self.jobs[0].kind is JobKind.STEP
        return execution


def test_check_runs_at_once_and_succeeds_whatever_it_finds() -> None:
    desk = Desk()
    execution = desk.ask("test.look", level=2)
    assert desk.jobs[0].params == {"level": 2}
    desk.done(FAIL)
    assert desk.states(execution) == ["STORED", "RUNNING", "SUCCEEDED"]
    assert desk.last(execution).outcome is Outcome.FAIL
    assert desk.verdicts() == [(Phase.RESULT, Outcome.FAIL)]


def test_check_that_could_not_run_fails_with_its_code() -> None:
    desk = Desk()
    execution = desk.ask("test.look")
    desk.done(error="device_not_answering")
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "device_not_answering")


def test_fix_succeeds_only_when_its_check_still_passes_after_the_soak() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.mend")
    desk.done()
    desk.done()
    desk.done(PASS)
    assert desk.last(execution).state is ExecutionState.VERIFYING
    assert desk.last(execution).hold_until_ms == 60_000
    desk.pass_s(59)
    assert desk.jobs == []
    desk.pass_s(2)
    desk.done(PASS)
    assert desk.last(execution).state is ExecutionState.SUCCEEDED
    assert desk.verdicts() == [
        (Phase.PRE_CHECK, Outcome.FAIL),
        (Phase.POST_CHECK, Outcome.PASS),
        (Phase.POST_CHECK, Outcome.PASS),
    ]


def test_fault_that_comes_back_within_the_soak_fails_the_fix() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.probe")
    desk.done()
    desk.done(PASS)
    desk.pass_s(61)
    desk.done(FAIL)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "post_check_failed")


def test_check_after_the_steps_is_tried_again_until_the_grace_is_over() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.no_soak")
    desk.done()
    for _ in range(3):
        desk.done(FAIL)
        desk.pass_s(1)
    desk.done(PASS)
    assert desk.last(execution).state is ExecutionState.SUCCEEDED

    other = desk.up_to_step("test.no_soak")
    desk.done()
    desk.pass_s(100)
    desk.done(FAIL)
    assert desk.last(other).code == "post_check_failed"


def test_fix_that_is_not_needed_changes_nothing() -> None:
    desk = Desk()
    execution = desk.ask("test.mend")
    desk.done()
    desk.done(PASS)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "not_needed")
    assert desk.jobs == []


def test_fix_that_is_not_needed_runs_when_asked_to_all_the_same() -> None:
    desk = Desk()
    desk.ask("test.mend", skip_if_passing=False)
    desk.done()
    desk.done(PASS)
    assert desk.jobs[0].kind is JobKind.STEP


def test_running_transaction_holds_a_fix_until_it_is_over() -> None:
    desk = Desk()
    execution = desk.ask("test.mend")
    desk.done(conditions=frozenset({Condition.TRANSACTION_RUNNING}))
    assert desk.last(execution).state is ExecutionState.WAITING_SAFE
    desk.pass_s(LOOK_AGAIN_S)
    desk.done(conditions=frozenset({Condition.TRANSACTION_RUNNING}))
    assert desk.states(execution).count("WAITING_SAFE") == 1
    desk.pass_s(LOOK_AGAIN_S)
    desk.done()
    assert desk.last(execution).state is ExecutionState.RUNNING


def test_held_fix_expires_with_its_command() -> None:
    desk = Desk()
    execution = desk.ask("test.mend", not_after_s=20)
    desk.done(conditions=frozenset({Condition.TRANSACTION_RUNNING}))
    desk.pass_s(21)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.EXPIRED, "not_safe_in_time")


def test_fix_that_would_destroy_money_is_refused() -> None:
    desk = Desk()
    execution = desk.ask("test.wipe")
    desk.done(conditions=frozenset({Condition.PAYMENTS_UNSENT}))
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.REJECTED, "unsafe")


def test_one_device_runs_one_fix_at_a_time_and_checks_beside_it() -> None:
    desk = Desk()
    desk.up_to_step("test.mend")
    second = desk.ask("test.mend")
    assert desk.states(second) == ["STORED"]
    check = desk.ask("test.look")
    assert desk.jobs[-1].execution == check
    other = desk.ask("test.mend", device=OTHER)
    assert desk.jobs[-1].execution == other


def test_next_fix_starts_when_the_one_before_it_ends() -> None:
    desk = Desk()
    first = desk.up_to_step("test.no_soak")
    second = desk.ask("test.mend")
    desk.done(error="no_power")
    assert desk.last(first).code == "no_power"
    assert [job.execution for job in desk.jobs] == [second]


def test_more_fixes_than_may_wait_are_refused_as_busy() -> None:
    desk = Desk()
    executions = [desk.ask("test.mend") for _ in range(MAX_QUEUED + 2)]
    assert desk.last(executions[-2]).state is ExecutionState.STORED
    assert (desk.last(executions[-1]).state, desk.last(executions[-1]).code) == (ExecutionState.REJECTED, "busy")


def test_cancel_before_the_first_step_ends_it_and_a_late_answer_changes_nothing() -> None:
    desk = Desk()
    execution = desk.ask("test.mend")
    desk.cancel(execution)
    assert desk.last(execution).state is ExecutionState.CANCELLED
    desk.done()
    assert desk.states(execution)[-1] == "CANCELLED"
    assert desk.jobs == []


def test_cancel_between_steps_is_honoured_after_the_present_step() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.mend")
    desk.cancel(execution)
    assert desk.last(execution).state is ExecutionState.RUNNING
    desk.done()
    assert desk.last(execution).state is ExecutionState.CANCELLED
    assert "after step 1 of 2" in desk.last(execution).detail


def test_cancel_in_the_last_step_is_refused_in_words() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.once")
    desk.cancel(execution)
    assert desk.last(execution).state is ExecutionState.RUNNING
    assert "too late" in desk.last(execution).detail
    desk.done()
    assert desk.last(execution).state is ExecutionState.VERIFYING


def test_cancel_that_overtakes_its_execution_ends_it_before_it_arrives() -> None:
    desk = Desk()
    execution = str(uuid.uuid4())
    desk.cancel(execution)
    assert desk.last(execution).state is ExecutionState.CANCELLED
    assert execution in desk.executions.known


def test_cancel_lets_the_next_fix_start() -> None:
    desk = Desk()
    first = desk.ask("test.mend")
    second = desk.ask("test.mend")
    desk.cancel(first)
    assert desk.jobs[-1].execution == second


def test_superseded_fix_ends_before_anything_was_changed() -> None:
    desk = Desk()
    first = desk.ask("test.mend")
    second = desk.ask("test.mend", supersedes=first)
    assert desk.last(first).state is ExecutionState.SUPERSEDED
    assert desk.jobs[-1].execution == second


def test_time_runs_only_once_the_worker_has_begun() -> None:
    desk = Desk()
    execution = desk.ask("test.look")
    desk.pass_s(1000)
    assert desk.states(execution)[-1] == "RUNNING"
    desk.starts()
    desk.pass_s(11)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "timed_out")
    assert desk.abandoned == 1


def test_once_step_without_an_answer_ends_unknown() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.once")
    desk.starts()
    desk.pass_s(31)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.UNKNOWN, "timed_out")


def test_idempotent_step_runs_again_after_a_crash() -> None:
    desk = Desk()
    desk.up_to_step("test.mend")
    desk.done()
    desk.restart()
    assert (desk.jobs[0].kind, desk.jobs[0].step_index) == (JobKind.STEP, 1)


def test_probeable_step_is_asked_about_after_a_crash() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.probe")
    desk.restart()
    assert desk.jobs[0].kind is JobKind.PROBE
    desk.done(probe=True)
    assert desk.last(execution).state is ExecutionState.VERIFYING


def test_probeable_step_that_did_not_happen_runs_again() -> None:
    desk = Desk()
    desk.up_to_step("test.probe")
    desk.restart()
    desk.done(probe=False)
    assert desk.jobs[0].kind is JobKind.STEP


def test_once_step_never_runs_again_after_a_crash() -> None:
    for probe in (False, None):
        desk = Desk()
        execution = desk.up_to_step("test.once")
        desk.restart()
        desk.done(probe=probe)
        assert desk.last(execution).state is ExecutionState.UNKNOWN
        assert desk.jobs == []


def test_changed_boot_proves_a_reboot_also_when_the_device_is_slow_to_come_up() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.reboot")
    desk.restart()
    desk.done(error="device_not_answering")
    desk.pass_s(1)
    desk.done(boot="boot-2")
    assert desk.last(execution).state is ExecutionState.VERIFYING


def test_same_boot_leaves_a_reboot_unknown() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.reboot")
    desk.restart()
    desk.done(boot="boot-1")
    assert desk.last(execution).state is ExecutionState.UNKNOWN


def test_soak_goes_on_after_a_restart() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.probe")
    desk.done()
    desk.done(PASS)
    desk.pass_s(30)
    desk.restart()
    desk.done(PASS)
    desk.pass_s(29)
    assert desk.jobs == []
    desk.pass_s(2)
    desk.done(PASS)
    assert desk.last(execution).state is ExecutionState.SUCCEEDED


def test_test_that_was_interrupted_ends_unknown() -> None:
    desk = Desk()
    execution = desk.ask("test.print")
    desk.done()
    desk.restart()
    assert desk.last(execution).state is ExecutionState.UNKNOWN


def test_check_that_was_interrupted_runs_again() -> None:
    desk = Desk()
    execution = desk.ask("test.look")
    desk.restart()
    assert desk.jobs[0].execution == execution


def test_action_that_is_gone_after_an_update_fails_by_name() -> None:
    desk = Desk()
    execution = ExecutionId(desk.ask("test.mend"))
    desk.executions = Executions({DEVICE: {}, OTHER: {}}, desk.rows)
    desk.take(desk.executions.recover(desk.moment))
    assert desk.last(execution).code == "unknown_action"


def test_finished_execution_is_answered_from_its_row_after_a_restart() -> None:
    desk = Desk()
    execution = ExecutionId(desk.ask("test.look"))
    desk.done(PASS)
    desk.restart()
    (report,) = desk.executions.answer_known(execution)
    assert isinstance(report, ExecutionReport)
    assert (report.state, report.outcome) == (ExecutionState.SUCCEEDED, Outcome.PASS)
