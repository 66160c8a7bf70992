"""Inspections as people arrange them, and what came of them: per round, per device.

Changing one holds its row, and whoever changes it says which version was read, so that two people never undo each other
unseen. What was asked already goes on; what waits is missed and says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor
from fleet_server.devices.repository import DeviceFilters
from fleet_server.devices.service import DeviceService
from fleet_server.inspections.errors import (
    InspectionChanged,
    InspectionEnded,
    InspectionInvalid,
    InspectionNotFound,
    TooManyInspections,
)
from fleet_server.inspections.models import Inspection, InspectionRound, InspectionTurn
from fleet_server.inspections.plans import (
    EVERY_DAY,
    LONGEST_WINDOW_MIN,
    MAX_CHECKS,
    MAX_LISTED,
    OUTCOMES,
    SHORTEST_WINDOW_MIN,
    Group,
    Missed,
    PlanState,
    Times,
    TurnState,
    is_time,
)
from fleet_server.inspections.repository import InspectionRepository
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.kit.times import from_us, to_us
from protocol.capabilities import Action
from protocol.commands import ActionKind, DangerClass
from protocol.parameters import Words

MAX_OPEN = 100
ROUNDS_SHOWN = 60
_LOOKED_AT = 200  # devices whose declarations a preview reads
_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_OPEN = (PlanState.ACTIVE, PlanState.PAUSED)


@dataclass(frozen=True, slots=True)
class Plan:
    """What somebody wants: `fleet_server.inspections.plans` says what each part means."""

    name: str
    checks: tuple[str, ...]
    times: Times
    group: Group


@dataclass(frozen=True, slots=True)
class Zone:
    timezone: str
    devices: int
    opens_at: datetime


@dataclass(frozen=True, slots=True)
class Preview:
    """What a plan would reach. ``looked_at``: how many devices' declarations were read; ``has``: how many of them have
    each of the checks, and ``offered`` which checks there are.
    """

    devices: int
    zones: Sequence[Zone]
    looked_at: int
    has: Mapping[str, int]
    offered: Mapping[str, Words]  # by name, what people call it


@dataclass(slots=True)
class RoundRead:
    """A round and how many of its turns stand where."""

    row: InspectionRound
    waiting: int = 0
    asked: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)


class InspectionService:
    def __init__(self, session: Session, tenant_id: str, devices: DeviceService) -> None:
        self._session = session
        self._tenant_id = tenant_id
        self._rows = InspectionRepository(session, tenant_id)
        self._devices = devices

    def get(self, inspection_id: str) -> Inspection:
        found = self._rows.get(inspection_id)
        if found is None:
            raise InspectionNotFound(inspection_id)
        return found

    def list(self, *, ended: bool = False) -> Sequence[Inspection]:
        """Newest first; those that ended only when asked for, at most 200."""
        return self._rows.newest_first((PlanState.ENDED,) if ended else _OPEN, 200)

    def make(self, actor: Actor, plan: Plan, now: datetime) -> Inspection:
        plan = self._checked(plan)
        if self._rows.count_open() >= MAX_OPEN:
            raise TooManyInspections(f"expected at most {MAX_OPEN} inspections at a time: end one that is not needed")
        row = Inspection(
            id=uuid7(now),
            tenant_id=self._tenant_id,
            **_columns(plan),
            state=PlanState.ACTIVE.value,
            created_by=actor.name[:120],
            created_at=now,
            changed_at=now,
            planned_from=now,
        )
        self._rows.add(row)
        self._note("inspection_made", actor, row, now)
        return row

    def change(self, actor: Actor, inspection_id: str, version: int, plan: Plan, now: datetime) -> Inspection:
        """Rounds of windows that have opened go on as they were planned."""
        plan = self._checked(plan)
        row = self._held(inspection_id, version)
        for name, value in _columns(plan).items():
            setattr(row, name, value)
        row.planned_from = now
        _move_on(row, now)
        self._note("inspection_changed", actor, row, now)
        return row

    def pause(self, actor: Actor, inspection_id: str, now: datetime) -> Inspection:
        """What waits is missed; what was asked goes on."""
        row, was = self._moved(inspection_id, PlanState.PAUSED, now)
        if row.state != was:
            self._note("inspection_paused", actor, row, now)
        return row

    def resume(self, actor: Actor, inspection_id: str, now: datetime) -> Inspection:
        """From the next window that opens."""
        row, was = self._moved(inspection_id, PlanState.ACTIVE, now)
        if row.state != was:
            self._note("inspection_resumed", actor, row, now)
        return row

    def end(self, actor: Actor, inspection_id: str, now: datetime) -> Inspection:
        """For good; its results stay as long as others."""
        row, was = self._moved(inspection_id, PlanState.ENDED, now)
        if row.state != was:
            self._note("inspection_ended", actor, row, now)
        return row

    def preview(self, plan: Plan, now: datetime) -> Preview:
        return self._reached(self._checked(plan), now)

    def everything(self, now: datetime) -> Preview:
        """All devices, and which checks they have: what there is to choose from."""
        return self._reached(Plan("", (), Times(EVERY_DAY, "02:00", SHORTEST_WINDOW_MIN), Group()), now)

    def _reached(self, plan: Plan, now: datetime) -> Preview:
        filters = filters_of(plan.group)
        zones = self._devices.zones(filters)
        looked_at = [one for zone in zones for one in self._devices.ids_in_zone(filters, zone, "", _LOOKED_AT)]
        having: Counter[str] = Counter()
        offered: dict[str, Words] = {}
        for device_id in looked_at[:_LOOKED_AT]:
            declared = self._devices.capabilities(device_id)
            checks = {one.name: one.title for one in (declared.actions if declared else ()) if is_asked_for(one)}
            having.update(checks.keys())
            offered |= checks
        return Preview(
            devices=sum(zones.values()),
            zones=[Zone(zone, count, plan.times.next_after(ZoneInfo(zone), now)) for zone, count in zones.items()],
            looked_at=len(looked_at[:_LOOKED_AT]),
            has={check: having[check] for check in plan.checks},
            offered=dict(sorted(offered.items())),
        )

    def rounds(self, inspection_id: str) -> Sequence[RoundRead]:
        """Newest first, a line for each time zone."""
        self.get(inspection_id)
        read = [RoundRead(row) for row in self._rows.newest_rounds(inspection_id, ROUNDS_SHOWN)]
        by_key = {(one.row.local_date, one.row.timezone): one for one in read}
        for local_date, zone, state, word, count in self._rows.counts(inspection_id, {key[0] for key in by_key}):
            one = by_key.get((local_date, zone))
            if one is None:
                continue
            match TurnState(state):
                case TurnState.WAITING:
                    one.waiting += count
                case TurnState.ASKED:
                    one.asked += count
                case TurnState.DONE:
                    one.outcomes[word] += count
                case TurnState.MISSED:
                    one.missed[word] += count
        return read

    def turns(
        self, inspection_id: str, local_date: str, result: str, cursor: str | None, limit: int
    ) -> Page[InspectionTurn]:
        """In the order of devices. ``result``: an outcome or a state of `TurnState`; "" all."""
        self.get(inspection_id)
        if result and result not in {*OUTCOMES, *(state.value for state in TurnState)}:
            raise InspectionInvalid(f"result: expected an outcome or a state, came {result[:40]!r}")
        after = decode_cursor(cursor, 1)[0] if cursor else ""
        if not isinstance(after, str):
            raise CursorInvalid("cursor is not one of the turns of a round")
        rows = self._rows.turns(inspection_id, local_date, result, after, limit + 1)
        items = rows[:limit]
        return Page(items, encode_cursor(items[-1].device_id) if len(rows) > limit else None)

    def of_device(self, device_id: str, cursor: str | None, limit: int) -> Page[tuple[InspectionTurn, Inspection]]:
        """Newest first."""
        self._devices.require(device_id)
        before = decode_cursor(cursor, 1)[0] if cursor else None
        if not isinstance(before, int | None):
            raise CursorInvalid("cursor is not one of a device's inspections")
        rows = self._rows.of_device(device_id, None if before is None else from_us(before), limit + 1)
        items = rows[:limit]
        return Page(items, encode_cursor(to_us(items[-1][0].due_at)) if len(rows) > limit else None)

    def _checked(self, plan: Plan) -> Plan:
        name = " ".join(plan.name.split())
        _expect(0 < len(name) <= 80 and name.isprintable(), "name", "1 to 80 printable characters", plan.name)
        checks = tuple(dict.fromkeys(plan.checks))
        _expect(0 < len(checks) <= MAX_CHECKS, "checks", f"1 to {MAX_CHECKS}", len(checks))
        for check in checks:
            _expect(_NAME.fullmatch(check) is not None and len(check) <= 100, "checks", "names such as net.path", check)
        times = replace(plan.times, days=tuple(sorted(set(plan.times.days))))
        _expect(times.days != () and set(times.days) <= set(range(1, 8)), "days", "1 to 7", list(plan.times.days))
        _expect(is_time(times.at), "at", "HH:MM", times.at)
        allowed = f"{SHORTEST_WINDOW_MIN} to {LONGEST_WINDOW_MIN} minutes"
        _expect(SHORTEST_WINDOW_MIN <= times.window_min <= LONGEST_WINDOW_MIN, "window_min", allowed, times.window_min)
        return Plan(name, checks, times, self._checked_group(plan.group))

    def _checked_group(self, group: Group) -> Group:
        if group.ids is None:
            return group
        ids = tuple(sorted(set(group.ids)))
        _expect(0 < len(ids) <= MAX_LISTED, "devices", f"1 to {MAX_LISTED} ids", len(ids))
        missing = sorted(set(ids) - self._devices.known(ids))
        _expect(not missing, "devices", "ids of devices in service", ", ".join(missing[:5]))
        return replace(group, ids=ids)

    def _held(self, inspection_id: str, version: int | None) -> Inspection:
        row = self._rows.get(inspection_id, locked=True)
        if row is None:
            raise InspectionNotFound(inspection_id)
        if row.state == PlanState.ENDED:
            raise InspectionEnded(f"inspection {row.id} has ended: make a new one")
        if version is not None and version != row.version:
            raise InspectionChanged(
                f"expected version {row.version}, came {version}: somebody has changed it meanwhile"
            )
        return row

    def _moved(self, inspection_id: str, to: PlanState, now: datetime) -> tuple[Inspection, str]:
        """With the state that it was in."""
        row = self._held(inspection_id, None)
        was = row.state
        if was != to:
            row.state = to.value
            row.planned_from = now
            _move_on(row, now)
        if to is not PlanState.ACTIVE:
            self._rows.miss_waiting(row.id, now, Missed.PAUSED)
        return row, was

    def _note(self, deed: str, actor: Actor, row: Inspection, now: datetime) -> None:
        data: dict[str, Any] = {"version": row.version, "checks": row.checks, "days": row.days, "at": row.at_local}
        record(self._session, actor, deed, row.id, data, now=now)


def _move_on(row: Inspection, now: datetime) -> None:
    row.version += 1
    row.changed_at = now


def plan_of(row: Inspection) -> Plan:
    ids = row.devices.get("ids")
    group = Group(**{**row.devices, "ids": None if ids is None else tuple(ids)})
    return Plan(row.name, tuple(row.checks), Times(tuple(row.days), row.at_local, row.window_min), group)


def is_asked_for(action: Action) -> bool:
    """What changes nothing and needs nothing to be said: everything else takes a person."""
    needs = any(one.required and one.default is None for one in action.params)
    return action.kind is ActionKind.CHECK and action.danger_class is DangerClass.READS and not needs


def filters_of(group: Group) -> DeviceFilters:
    return DeviceFilters(
        q=group.q,
        site=group.site,
        kind=group.kind,
        model=group.model,
        firmware=group.firmware,
        agent=group.agent,
        device_ids=None if group.ids is None else frozenset(group.ids),
    )


def _columns(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "checks": list(plan.checks),
        "days": list(plan.times.days),
        "at_local": plan.times.at,
        "window_min": plan.times.window_min,
        "devices": {key: list(value) if key == "ids" and value else value for key, value in asdict(plan.group).items()},
    }


def _expect(holds: object, field_name: str, expected: str, came: object) -> None:
    if not holds:
        raise InspectionInvalid(f"{field_name}: expected {expected}, came {str(came)[:80]!r}")
