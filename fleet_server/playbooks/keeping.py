"""What moves walks of playbooks: each order of `protocol.playbooks.timing` is carried out in one transaction.

A step's row, its execution and its first event are committed together, and the walk's row is held meanwhile. So
whichever process does it, and wherever it dies: a step is asked for once or not at all, and whoever comes next finds
the walk where it stands. The ledger of executions does the rest; commands leave after the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.audit.service import SYSTEM
from fleet_server.auth.absent import find_absent
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading, transaction
from fleet_server.devices.holding import hold_one
from fleet_server.devices.repository import DeviceRepository
from fleet_server.devices.service import CapabilityCache, DeviceService
from fleet_server.errors import FleetError
from fleet_server.executions.deciding import Decisions, Desk
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.ends import read_ends
from fleet_server.executions.errors import ExecutionFinished
from fleet_server.executions.outbound import Outbound
from fleet_server.executions.service import ExecutionService, Wish
from fleet_server.kit.conflicts import Conflicts
from fleet_server.playbooks import happenings
from fleet_server.playbooks.models import PlaybookRun, PlaybookStep
from fleet_server.playbooks.repository import PlaybookRepository
from fleet_server.playbooks.taking import definition_of, heard_from, may_lack_findings, stored, until, walk_of
from fleet_server.tenants.repository import is_suspended
from fleet_server.timeline.repository import TimelineRepository
from fleet_server.timeline.service import TimelineService
from fleet_server.timeline.writer import NewEvent
from protocol.capabilities import Action
from protocol.executions import ExecutionState
from protocol.playbooks.language import Playbook
from protocol.playbooks.timing import Begin, Finish, GiveUp, Hold, PassOn, next_order
from protocol.playbooks.walking import UNSUPPORTED, Over, Todo

LOOKED_AT = 200
# A check's findings may come after its end; without them it is decided by its verdict alone.
FINDINGS_WITHIN = timedelta(seconds=20)
_SOON = timedelta(seconds=1)
# A shift permit that is signed while a step waits for its approver lets it go within this.
_PERMIT_LOOK = timedelta(seconds=5)
_SUSPENDED_LOOK = timedelta(minutes=1)


@dataclass(slots=True)
class _Held:
    """One walk while its rows are held, and what is done with it."""

    session: Session
    run: PlaybookRun
    steps: list[PlaybookStep]
    playbook: Playbook
    rows: PlaybookRepository
    executions: ExecutionService
    devices: DeviceService
    now: datetime
    awaits: bool = False  # the present step is not allowed yet

    @property
    def present(self) -> PlaybookStep | None:
        return next((one for one in self.steps if one.ended_at is None), None)


class PlaybookKeeper:
    """One for a scheduler; any number of them do no harm."""

    def __init__(
        self, engine: Engine, cache: CapabilityCache, dispatcher: Dispatcher, outbound: Outbound, conflicts: Conflicts
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._dispatcher = dispatcher
        self._outbound = outbound
        self._conflicts = conflicts
        self._after: dict[str, str] = {}  # by tenant: how far a round through open walks has come

    def step(self, tenant_id: str, now: datetime) -> bool:
        """Whether there is more to do at once. Idle, it is one transaction that reads."""
        with reading(self._engine, tenant_id) as session:
            found = PlaybookRepository(session, tenant_id).open_after(self._after.get(tenant_id, ""), LOOKED_AT)
            ends = read_ends(session, tenant_id, [one for _, _, one in found if one is not None]) if found else {}
        is_all = len(found) < LOOKED_AT
        self._after[tenant_id] = "" if is_all else found[-1][0]
        moved = False
        for run_id, due_at, execution_id in found:
            if (due_at is not None and due_at <= now) or execution_id in ends:
                moved = self._conflicts.once_more(partial(self.move, tenant_id, run_id, now)) or moved
        return moved or not is_all

    def move(self, tenant_id: str, run_id: str, now: datetime) -> bool:
        """One order, in one transaction. Whether another may follow at once."""
        with transaction(self._engine, tenant_id) as session:
            rows = PlaybookRepository(session, tenant_id)
            seen = rows.get(run_id)
            if seen is None:
                return False
            hold_one(session, tenant_id, seen.device_id)
            run = rows.get(run_id, locked=True)
            if run is None or not run.is_open:
                return False
            devices = self._devices(session, tenant_id)
            executions = ExecutionService(session, tenant_id, devices, self._dispatcher, self._outbound)
            held = _Held(session, run, rows.steps([run_id]), definition_of(run), rows, executions, devices, now)
            events, more = self._moved(held)
            self._outbound.announce(session, tenant_id, [], events, now)
            return more

    def _moved(self, held: _Held) -> tuple[list[NewEvent], bool]:
        if held.present is not None and held.present.execution_id is not None and not self._gathered(held):
            return [], False
        order = next_order(held.playbook, walk_of(held.run, held.steps), held.now.timestamp())
        match order:
            case Begin(todo):
                return self._begin(held, todo)
            case PassOn():
                _end_present(held)
                return [], True
            case GiveUp():
                self._give_up(held)
                return [], True
            case Hold(until_s):
                held.run.due_at = until(until_s, held.now)
                if held.awaits:
                    held.run.due_at = min(held.run.due_at or held.now + _PERMIT_LOOK, held.now + _PERMIT_LOOK)
                return [], False
            case Finish(over):
                return [_finish(held, over)], False

    def _gathered(self, held: _Held) -> bool:
        """False while the end of the present step is known and its findings are waited for."""
        step = held.present
        if step is None or step.execution_id is None:
            return True
        execution = held.executions.get(step.execution_id)
        timeline = TimelineService(TimelineRepository(held.session, held.run.tenant_id))
        if execution.state == ExecutionState.AWAITING_APPROVAL:
            desk = Desk(held.session, held.run.tenant_id, held.devices, self._dispatcher, self._outbound)
            held.awaits = not Decisions(desk).allow_by_permit(execution.id, held.now)
        heard = heard_from(execution, timeline.of_execution(execution.id) if execution.is_final else [])
        if heard is None:
            return True
        ended_at = execution.finished_at or held.now
        if may_lack_findings(heard) and held.now < ended_at + FINDINGS_WITHIN:
            held.run.due_at = held.now + _SOON
            return False
        step.heard = stored(heard)
        _end_present(held)
        return True

    def _begin(self, held: _Held, todo: Todo) -> tuple[list[NewEvent], bool]:
        run, step = held.run, todo.step
        if is_suspended(held.session, run.tenant_id):
            run.due_at = held.now + _SUSPENDED_LOOK
            return [], False
        if step.kind is None:
            _add(held, todo)
            run.due_at = held.now + timedelta(seconds=step.longest_s)
            return [happenings.moved(run, "step", held.now, step=step.name, number=len(held.steps))], False
        actor = find_absent(held.session, run.tenant_id, run.starter_kind, run.starter_id, held.now)
        if actor is None or not self._reaches(actor, run.device_id):
            return [_finish(held, "requester_gone")], False
        try:
            declared = self._declared(held)
            if step.action not in declared:
                _end(_add(held, todo), held.now).heard = stored(UNSUPPORTED)
                return [], True
            wish = Wish(run.device_id, step.action, dict(todo.params), _because(todo))
            execution = held.executions.request(actor, wish, held.now)
        except FleetError as error:
            # Nothing of it was written: what is refused is refused before.
            return [_finish(held, "refused", error.code)], False
        _add(held, todo).execution_id = execution.id
        waits = execution.state == ExecutionState.AWAITING_APPROVAL
        run.due_at = held.now + (_PERMIT_LOOK if waits else timedelta(seconds=step.longest_s))
        more: dict[str, Any] = {
            "step": step.name,
            "number": len(held.steps),
            "action": step.action,
            "execution": execution.id,
        }
        return [happenings.moved(run, "step", held.now, **more)], False

    def _reaches(self, actor: Actor, device_id: str) -> bool:
        """A technician asks for nothing more once the device is not assigned any more."""
        if not actor.role.works_by_assignments:
            return True
        with reading(self._engine, actor.reach) as session:
            return bool(self._devices(session, actor.tenant_id).known([device_id]))

    def _devices(self, session: Session, tenant_id: str) -> DeviceService:
        return DeviceService(DeviceRepository(session, tenant_id), self._cache)

    @staticmethod
    def _declared(held: _Held) -> Mapping[str, Action]:
        target = held.devices.command_target(held.run.device_id)
        return {one.name: one for one in held.devices.declared_actions(target)}

    @staticmethod
    def _give_up(held: _Held) -> None:
        step = held.present
        if step is None or step.execution_id is None:
            return
        name = held.run.cancel_asked_by or SYSTEM
        actor = Actor("", name, Role.OPERATOR, held.run.tenant_id, ActorKind.PERSON)
        step.is_stopping = True
        try:
            held.executions.cancel(actor, step.execution_id, held.now)
        except ExecutionFinished:
            # It ended by itself meanwhile, and is gathered at the next look.
            held.run.due_at = held.now


def _add(held: _Held, todo: Todo) -> PlaybookStep:
    row = PlaybookStep(
        run_id=held.run.id,
        number=len(held.steps) + 1,
        tenant_id=held.run.tenant_id,
        device_id=held.run.device_id,
        step=todo.step.name,
        action=todo.step.action,
        begun_at=held.now,
    )
    held.steps.append(row)
    held.rows.add(row)
    return row


def _end(step: PlaybookStep, now: datetime) -> PlaybookStep:
    step.ended_at = now
    return step


def _end_present(held: _Held) -> None:
    if held.present is not None:
        _end(held.present, held.now)
    held.run.due_at = held.now


def _because(todo: Todo) -> str | None:
    because = todo.step.because
    return None if because is None else f"{because.zh} / {because.en}"


def _finish(held: _Held, how: Over | str, code: str = "") -> NewEvent:
    """``how``: where the walk came to, or in a word why it ends here."""
    run = held.run
    if isinstance(how, str):
        run.why, run.code = how, code[:80]
    else:
        run.end_name = "" if how.end is None else how.end.name
        run.end_kind = "" if how.end is None else how.end.kind.value
        run.why = "" if how.why is None else how.why.value
    run.is_open, run.due_at, run.ended_at = False, None, held.now
    return happenings.moved(run, "ended", held.now)
