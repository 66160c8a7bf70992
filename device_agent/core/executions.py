"""All executions of this agent: one that changes something at a time on each device, checks beside it.

Invariants: at most one mutating execution of a device is past QUEUED; at most `MAX_QUEUED` wait and as many checks run,
more are refused as busy; an execution id has one row for ever, and a command for it that comes again is answered from
that row. Deciding whether to obey is `command_gate`'s part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

from device_agent.actions import Definition
from device_agent.core import journal
from device_agent.core.asking import Asking
from device_agent.core.command_gate import Accepted, Refused
from device_agent.core.consent import Consent, Tried
from device_agent.core.effects import JobDone
from device_agent.core.execution import Execution
from device_agent.core.hours import Hours
from device_agent.core.instant import earliest
from device_agent.core.journal import Row
from device_agent.core.relapse import Relapses
from device_agent.core.turns import Moment, Stage, Turn
from protocol.commands import CANCEL, ActionKind
from protocol.executions import ExecutionState, has_reached
from protocol.identifiers import DeviceId, ExecutionId
from protocol.records import FaultRaised, RecordBody

MAX_QUEUED: Final = 16
# Finished rows kept in memory to answer a command that is delivered again; the store keeps more.
MAX_REMEMBERED: Final = 1000


class Executions:
    """``displays``: where a merchant at a device may read something, best first. ``hours``: the maintenance window.
    ``open_faults``: codes of the faults that a device has at the moment.
    """

    def __init__(
        self,
        devices: Mapping[DeviceId, Mapping[str, Definition]],
        stored: Mapping[str, bytes],
        displays: Callable[[DeviceId], Sequence[DeviceId]] = lambda device: [device],
        hours: Hours | None = None,
        open_faults: Callable[[DeviceId], Collection[str]] = lambda _device: (),
    ) -> None:
        self._open_faults = open_faults
        self._devices = devices
        self._hours = hours
        self._displays = displays
        self._rows: dict[str, Row] = {}
        for execution, body in list(stored.items())[-MAX_REMEMBERED:]:
            row = journal.decode(body)
            if row is not None:
                self._rows[execution] = row
        self._relapses = Relapses(self._rows.values())
        self._running: dict[ExecutionId, Execution | Asking] = {}
        self._waiting: dict[DeviceId, deque[Execution]] = {device: deque() for device in devices}
        self._slot: dict[DeviceId, Execution] = {}
        self._changed: list[Row] = []

    @property
    def known(self) -> Mapping[str, Row]:
        return self._rows

    def open_count(self) -> int:
        return len(self._running)

    def changed_rows(self) -> list[Row]:
        """The rows to be journalled since the last time asked."""
        changed, self._changed = self._changed, []
        return changed

    def recover(self, moment: Moment) -> Turn:
        """What a stop of the agent interrupted goes on from its rows, in the order in which it came."""
        turn = Turn()
        for row in [row for row in self._rows.values() if not row.is_final]:
            if not row.is_agreed:
                words = "the agent started again, and the code is gone: ask once more"
                self._keep(journal.ended(row, ExecutionState.EXPIRED, "consent_not_given", words), turn.bodies)
                continue
            definition = self._devices.get(row.device, {}).get(row.action)
            if definition is None:
                gone = journal.ended(row, ExecutionState.FAILED, "unknown_action", "no longer an action of this device")
                self._keep(gone, turn.bodies)
                continue
            execution = self._made(row, definition)
            self._running[row.execution] = execution
            if execution.is_mutating:
                self._waiting[row.device].append(execution)
            else:
                self._take(turn, execution, execution.start(moment))
        for device in self._waiting:
            self._fill_slot(turn, device, moment)
        return turn

    def accept(self, accepted: Accepted, moment: Moment) -> Turn:
        command = accepted.command
        device = DeviceId(command.audience)
        turn = Turn(is_durable=False)
        if command.action == CANCEL or accepted.definition is None:
            return self._cancel(ExecutionId(str(accepted.params["execution"])), device, moment)
        if command.supersedes is not None:
            self._supersede(turn, ExecutionId(command.supersedes), device, moment)
        row = Row(
            execution=ExecutionId(command.execution),
            device=device,
            action=command.action,
            kind=accepted.definition.declared.kind,
            state=ExecutionState.STORED if accepted.code is None else ExecutionState.AWAITING_CONSENT,
            not_after_ms=command.not_after_ms,
            params=dict(accepted.params),
            skip_if_passing=command.skip_if_passing,
            overrides=command.override_holds,
            is_agreed=accepted.code is None,
            step_count=len(accepted.definition.steps),
        )
        execution = self._made(row, accepted.definition)
        if self._is_busy(execution):
            words = f"{MAX_QUEUED} executions are waiting already"
            self._keep(journal.ended(row, ExecutionState.REJECTED, "busy", words), turn.bodies)
            return turn
        self._running[row.execution] = execution
        self._keep(row, turn.bodies)
        if accepted.code is not None:
            turn.is_durable = True
            asking = Asking(row, accepted.definition, Consent(accepted.code, list(self._displays(device))))
            self._running[row.execution] = asking
            self._take(turn, asking, asking.begin(moment))
        elif execution.is_mutating:
            turn.is_durable = True
            self._waiting[device].append(execution)
            self._fill_slot(turn, device, moment)
        else:
            self._take(turn, execution, execution.start(moment))
        return turn

    def refuse(self, refused: Refused) -> list[RecordBody]:
        """The answer to an authentic command that is not obeyed. It gets no row: mended, it may be sent again."""
        if refused.execution is None or refused.device is None or refused.execution in self._rows:
            return []
        row = Row(refused.execution, refused.device, "", ActionKind.CHECK, ExecutionState.REJECTED)
        return [journal.ended(row, ExecutionState.REJECTED, refused.refusal.value, refused.detail).report()]

    def try_code(
        self, execution: ExecutionId, device: DeviceId, code: str, moment: Moment
    ) -> tuple[Turn, Tried | None]:
        """What the merchant read out; None when no code is waited for."""
        turn = Turn()
        asking = self._running.get(execution)
        if not isinstance(asking, Asking) or asking.row.device != device:
            turn.bodies += self.answer_known(execution) if self.device_of(execution) == device else []
            return turn, None
        part, tried = asking.try_code(code)
        self._take(turn, asking, part)
        if tried is Tried.RIGHT:
            agreed = self._made(asking.row, asking.definition)
            self._running[execution] = agreed
            self._waiting[device].append(agreed)
            self._fill_slot(turn, device, moment)
        return turn, tried

    def stop(self, moment: Moment) -> Turn:
        """An emergency stop: ends what has changed nothing yet; what is in the middle stops after its present step."""
        turn = Turn()
        for execution in [one for one in self._running.values() if one.is_mutating]:
            self._take(turn, execution, execution.cancel(code="stopped"))
        for device in self._waiting:
            self._fill_slot(turn, device, moment)
        return turn

    def answer_known(self, execution: ExecutionId) -> list[RecordBody]:
        return [self._rows[execution].report()]

    def device_of(self, execution: str) -> DeviceId | None:
        row = self._rows.get(execution)
        return None if row is None else row.device

    def on_started(self, execution: ExecutionId, serial: int, moment: Moment) -> None:
        if execution in self._running:
            self._running[execution].on_started(serial, moment)

    def on_done(self, done: JobDone, moment: Moment) -> Turn:
        execution = self._running.get(done.execution)
        turn = Turn(is_durable=False)
        if execution is not None:
            self._take(turn, execution, execution.on_done(done, moment))
            self._fill_slot(turn, execution.row.device, moment)
        return turn

    def on_tick(self, moment: Moment) -> Turn:
        turn = Turn(is_durable=False)
        for execution in list(self._running.values()):
            self._take(turn, execution, execution.on_tick(moment))
            self._fill_slot(turn, execution.row.device, moment)
        return turn

    def on_watched(self, device: DeviceId, bodies: Sequence[RecordBody], moment: Moment) -> Turn:
        """What a look at a device, or its log, has told: a fault that a fix had mended may be back."""
        turn = Turn()
        slot = self._slot.get(device)
        if slot is not None and slot.stage is not Stage.ENDED and has_reached(slot.row.state, ExecutionState.RUNNING):
            return turn
        for raised in (body for body in bodies if isinstance(body, FaultRaised)):
            for row in self._relapses.by(device, raised, moment.trusted_ms):
                self._keep(journal.came_back(row, f"{raised.code} was seen again"), turn.bodies)
        return turn

    def next_due_ns(self) -> int | None:
        return earliest(*(execution.due_ns for execution in self._running.values()))

    def _made(self, row: Row, definition: Definition) -> Execution:
        open_faults = partial(self._open_faults, row.device)
        return Execution(row, definition, self._devices[row.device], self._hours, open_faults)

    def _cancel(self, execution: ExecutionId, device: DeviceId, moment: Moment) -> Turn:
        turn = Turn()
        if execution in self._running and self._running[execution].row.device == device:
            running = self._running[execution]
            self._take(turn, running, running.cancel())
            self._fill_slot(turn, device, moment)
        elif execution in self._rows:
            turn.bodies += self.answer_known(execution)
        else:
            # The order to end it has overtaken it: when it comes, it is answered with this row.
            row = Row(execution, device, "", ActionKind.CHECK, ExecutionState.STORED)
            self._keep(journal.ended(row, ExecutionState.CANCELLED, "", "ended before it arrived"), turn.bodies)
        return turn

    def _supersede(self, turn: Turn, execution: ExecutionId, device: DeviceId, moment: Moment) -> None:
        old = self._running.get(execution)
        if old is None and execution not in self._rows:
            # It was overtaken: when it comes, it is answered with this row.
            row = Row(execution, device, "", ActionKind.CHECK, ExecutionState.STORED)
            words = "another took its place before it arrived"
            self._keep(journal.ended(row, ExecutionState.SUPERSEDED, "", words), turn.bodies)
        elif old is not None and old.row.device == device:
            self._take(turn, old, old.cancel(state=ExecutionState.SUPERSEDED))
            self._fill_slot(turn, device, moment)

    def _is_busy(self, execution: Execution) -> bool:
        device = execution.row.device
        if execution.is_mutating:
            asking = sum(isinstance(one, Asking) for one in self._running.values() if one.row.device == device)
            return len(self._waiting[device]) + asking >= MAX_QUEUED
        checks = [one for one in self._running.values() if one.row.device == device and not one.is_mutating]
        return len(checks) >= MAX_QUEUED

    def _fill_slot(self, turn: Turn, device: DeviceId, moment: Moment) -> None:
        waiting = self._waiting[device]
        while waiting and (device not in self._slot or self._slot[device].stage is Stage.ENDED):
            execution = waiting.popleft()
            if execution.stage is Stage.ENDED:
                continue
            self._slot[device] = execution
            is_new = execution.row.state is ExecutionState.STORED
            self._take(turn, execution, execution.start(moment) if is_new else execution.resume(moment))

    def _take(self, turn: Turn, execution: Execution | Asking, part: Turn) -> None:
        turn.bodies += part.bodies
        turn.effects += part.effects
        if part.bodies or part.effects:
            turn.is_durable = turn.is_durable or part.is_durable
        if self._rows.get(execution.row.execution) != execution.row:
            # Its reports are among the part's own bodies.
            self._keep(execution.row, [])
        if execution.stage is Stage.ENDED:
            self._running.pop(execution.row.execution, None)

    def _keep(self, row: Row, bodies: list[RecordBody]) -> None:
        self._rows[row.execution] = row
        self._relapses.note(row)
        self._changed.append(row)
        bodies.append(row.report())
        for execution in list(self._rows)[: max(len(self._rows) - MAX_REMEMBERED, 0)]:
            if self._rows[execution].is_final:
                del self._rows[execution]
