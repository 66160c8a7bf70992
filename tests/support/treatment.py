"""The agent's ledger on a simulated device, in virtual time: real executions, real actions, the real spool file.

The broker, the gate and the threads are left out; orders are taken as accepted. A crash drops everything in memory at
a chosen boundary and opens the files anew. The device does not crash with the agent.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from device_agent.adapters.spool import Spool
from device_agent.core.command_gate import Accepted
from device_agent.core.effects import Job, JobDone, RunJob
from device_agent.core.executions import Executions
from device_agent.core.hours import Hours
from device_agent.core.instant import NS_PER_S, Instant
from device_agent.core.records import Changes
from device_agent.core.turns import Moment, Turn
from device_agent.errors import AgentError
from device_agent.worker import DevicePlan, answer, held_back, refused
from protocol.commands import Command
from protocol.executions import FINAL
from protocol.identifiers import DeviceId
from protocol.parameters import ParamValue, check_params
from protocol.records import ExecutionReport, Verdict
from tests.support.action_rig import ActionRig, Context

DEVICE = DeviceId("treated-00000001")
# Longer than any action here takes with its soak, a hold not counted.
LONGEST_S = 1800.0


class Crashed(BaseException):
    """The process is gone. Nothing may catch it as an error of its own."""


def nobody(_job: Job) -> None:
    """Nothing happens in the breath before a job begins."""


@dataclass(slots=True)
class Treatment:
    """``crash_at``: the boundaries at which the agent dies, counted from the first. ``before_job``: what the world does
    between the agent's decision and the device.
    """

    rig: ActionRig
    folder: Path
    crash_at: frozenset[int] = frozenset()
    before_job: Callable[[Job], None] = nobody
    hours: Hours | None = None
    boundaries: int = 0
    crashes: int = 0
    said: list[ExecutionReport | Verdict] = field(default_factory=list)
    steps_begun: list[tuple[str, int]] = field(default_factory=list)
    spool: Spool = field(init=False)
    executions: Executions = field(init=False)
    _jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._open()

    @property
    def moment(self) -> Moment:
        seconds = self.rig.clock.now_s
        return Moment(Instant(int(seconds * NS_PER_S), datetime.fromtimestamp(seconds, UTC)), int(seconds * 1000))

    def run(self, action: str, given: dict[str, ParamValue] | None = None, **changed: Any) -> ExecutionReport:
        """The last word on one execution of ``action``, through as many deaths of the agent as come."""
        definition = self.rig.definitions[action]
        params = check_params(list(definition.declared.params), given or {})
        assert isinstance(params, dict), params
        command = Command(
            version=1,
            audience=DEVICE,
            tenant="default",
            execution=str(uuid.uuid4()),
            action=action,
            danger_class=definition.declared.danger_class,
            params=params,
            issued_at_ms=0,
            not_after_ms=self.moment.trusted_ms + 86_400_000,
            counter=1,
            **changed,
        )
        while command.execution not in self.executions.known:
            self._through_death(lambda: self._take(self._accept(Accepted(command, definition, params, {}))))
        until_s = self.rig.clock.now_s + LONGEST_S
        while self.last(command.execution) is None:
            assert self.rig.clock.now_s < until_s, f"{action} hangs: {self.said[-1:]}"
            self._through_death(self._turn)
        last = self.last(command.execution)
        assert last is not None
        return last

    def last(self, execution: str) -> ExecutionReport | None:
        ends = [one for one in self.said if isinstance(one, ExecutionReport) and one.state in FINAL]
        return next((one for one in reversed(ends) if one.execution == execution), None)

    def close(self) -> None:
        self.spool.close()

    def _accept(self, accepted: Accepted) -> Turn:
        """Once more after each death until it is stored, as the server does."""
        return self.executions.accept(accepted, self.moment)

    def _turn(self) -> None:
        if self._jobs:
            self._perform(self._jobs.pop(0))
            return
        due_ns = self.executions.next_due_ns()
        assert due_ns is not None, f"nothing is due: {self.said[-1:]}"
        self.rig.clock.now_s = max(self.rig.clock.now_s, due_ns / NS_PER_S + 0.001)
        self._take(self.executions.on_tick(self.moment))

    def _through_death(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Crashed:
            self.crashes += 1
            self._restart()

    def _restart(self) -> None:
        self.spool.close()
        self._jobs.clear()
        while True:
            try:
                self._open()
                self._take(self.executions.recover(self.moment))
            except Crashed:
                self.spool.close()
                continue
            return

    def _open(self) -> None:
        self.spool = Spool(self.folder / "spool.db", lambda body: repr(body).encode())
        self.executions = Executions({DEVICE: self.rig.definitions}, self.spool.journal(), hours=self.hours)

    def _take(self, turn: Turn) -> None:
        """As the agent settles: rows first, then what may be told and begun."""
        self._boundary()
        rows: dict[str, bytes | None] = {row.execution: row.encoded() for row in self.executions.changed_rows()}
        if rows:
            self.spool.commit(Changes(journal=rows), self.moment.trusted_ms)
        self.said += [body for body in turn.bodies if isinstance(body, ExecutionReport | Verdict)]
        self._boundary()
        self._jobs += [effect.job for effect in turn.effects if isinstance(effect, RunJob)]

    def _perform(self, job: Job) -> None:
        self._boundary()
        self.before_job(job)
        plan = DevicePlan(DEVICE, self.rig.terminal_class, 5.0, lambda: self.rig.device)
        context = Context(self.rig.device, self.rig.terminal_class, job.params)
        context.boot_before = job.boot_before
        try:
            done = held_back(job, self.rig.device, plan)
            if done is None:
                self.steps_begun.append((job.kind.value, job.step_index))
                done = answer(job, context, self.rig.device, plan)
        except AgentError as error:
            done = refused(job, error)
        self._boundary()
        self.executions.on_started(job.execution, job.serial, self.moment)
        self._take(self.executions.on_done(JobDone(**vars_of(done)), self.moment))

    def _boundary(self) -> None:
        self.boundaries += 1
        if self.boundaries - 1 in self.crash_at:
            raise Crashed


def vars_of(done: JobDone) -> dict[str, Any]:
    return {name: getattr(done, name) for name in JobDone.__dataclass_fields__}
