"""Executions with a clock, for the tests: what was said, what was ordered, what a restart would find."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from device_agent.actions import Finding
from device_agent.core.command_gate import Accepted
from device_agent.core.effects import AbandonWorker, Job, JobDone, JobKind, RunJob
from device_agent.core.executions import Executions
from device_agent.core.hours import Hours
from device_agent.core.turns import Moment, Turn
from protocol.commands import CANCEL, Command, DangerClass
from protocol.identifiers import DeviceId
from protocol.parameters import ParamValue
from protocol.records import ExecutionReport, FaultRaised, Outcome, Phase, Severity, Verdict
from protocol.safety import Condition
from tests.device_agent.core.invented import DEFINITIONS, DEVICE, DEVICES, FAIL
from tests.device_agent.core.rig import Clock


@dataclass(slots=True)
class Desk:
    """Executions with a clock; remembers what was said, what was ordered, and what a restart would find."""

    clock: Clock = field(default_factory=Clock)
    rows: dict[str, bytes] = field(default_factory=dict)
    said: list[ExecutionReport | Verdict] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    abandoned: int = 0
    open_faults: list[str] = field(default_factory=list)  # codes, of any device
    hours: Hours | None = None
    executions: Executions = field(init=False)

    def __post_init__(self) -> None:
        self.executions = self._started()

    def _started(self) -> Executions:
        return Executions(DEVICES, self.rows, hours=self.hours, open_faults=lambda _device: self.open_faults)

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
        override_holds: bool = False,
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
            override_holds=override_holds,
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
        mark: str = "",
        identity: str = "",
        error: str = "",
        is_begun: bool = True,
    ) -> None:
        """The oldest job that is out is answered."""
        job = self.jobs.pop(0)
        answer = JobDone(
            job.execution,
            job.serial,
            findings,
            conditions=conditions,
            probe=probe,
            boot=boot,
            mark=mark,
            identity=identity,
            error=error,
            is_begun=is_begun,
        )
        self.take(self.executions.on_done(answer, self.moment))

    def starts(self) -> None:
        self.executions.on_started(self.jobs[0].execution, self.jobs[0].serial, self.moment)

    def pass_s(self, seconds: float) -> None:
        self.clock.pass_s(seconds)
        self.take(self.executions.on_tick(self.moment))

    def restart(self) -> None:
        """The agent stops dead and starts again from what is durable."""
        self.executions = self._started()
        self.jobs.clear()
        self.take(self.executions.recover(self.moment))

    def raised(self, code: str, count: int = 1, device: DeviceId = DEVICE) -> None:
        told = FaultRaised(code, Severity.MAJOR, 0, 0, count)
        self.take(self.executions.on_watched(device, [told], self.moment))

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
        self.done(FAIL)
        self.done()
        assert self.jobs[0].kind is JobKind.STEP
        return execution
