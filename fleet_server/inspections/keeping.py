"""What makes inspections happen: rounds are planned before their windows open, devices are asked at their moments,
verdicts are gathered, and what was missed says why.

Each step is a transaction of its own, and each can be taken again: turns of a round are made in pieces behind a mark,
a check is asked under a key of its own, a turn is moved only from where it was read. So a scheduler that dies anywhere
leaves nothing asked twice and nothing forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading, transaction
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.repository import CommandTarget, DeviceRepository
from fleet_server.devices.service import CapabilityCache, DeviceService
from fleet_server.errors import FleetError
from fleet_server.executions.desk import ExecutionDesk
from fleet_server.executions.ends import read_ends
from fleet_server.executions.service import Wish
from fleet_server.freezes.errors import FreezeInForce
from fleet_server.inspections.models import Inspection, InspectionRound, InspectionTurn
from fleet_server.inspections.plans import (
    LEAD,
    LOOK_BACK,
    Missed,
    PlanState,
    TurnState,
    Window,
    moment,
    settled,
)
from fleet_server.inspections.repository import InspectionRepository, Key
from fleet_server.inspections.service import MAX_OPEN, filters_of, is_asked_for, plan_of
from fleet_server.tenants.repository import is_suspended
from protocol.capabilities import Action

# Turns made in one transaction, devices looked at and requests made in one step, turns gathered in one step.
PIECE = 500
DEVICES_A_STEP = 40
REQUESTS_A_STEP = 50
GATHERED_A_STEP = 200
# Devices of time zones that were not there before are found at the latest after:
_LOOK_AGAIN = timedelta(minutes=10)
_OFFLINE_LOOK = timedelta(seconds=60)
_START = (datetime(1970, 1, 1, tzinfo=UTC), "")


class InspectionKeeper:
    """One for a scheduler. ``desk``: where checks are asked for, as people ask for them."""

    def __init__(self, engine: Engine, cache: CapabilityCache, desk: ExecutionDesk) -> None:
        self._engine = engine
        self._cache = cache
        self._desk = desk
        self._look_at: dict[tuple[str, int], datetime] = {}  # by inspection and version: when to plan again
        self._gathered: dict[
            str, tuple[datetime, str]
        ] = {}  # by tenant: how far a round through what is asked has come

    def step(self, tenant_id: str, now: datetime) -> bool:
        """Whether there is more to do at once. Idle, it is one transaction that reads."""
        with reading(self._engine, tenant_id) as session:
            rows = InspectionRepository(session, tenant_id)
            active = rows.newest_first((PlanState.ACTIVE,), MAX_OPEN)
            due = rows.due(now, DEVICES_A_STEP)
            plans = {one.inspection_id: rows.get(one.inspection_id) for one in due}
            asked = rows.asked(self._gathered.get(tenant_id, _START), GATHERED_A_STEP)
            wanted = [one["execution"] for turn in asked for one in turn.results.values() if "execution" in one]
            ends = read_ends(session, tenant_id, wanted)
            has_lapsed = rows.has_lapsed(now)
            suspended = is_suspended(session, tenant_id)
        more = self._plan(tenant_id, active, now)
        if suspended:
            for turn in due:
                self._save(tenant_id, turn, TurnState.WAITING, _later(turn, Missed.SUSPENDED, now))
        else:
            more = self._ask(tenant_id, due, plans, now) or more
        more = self._gather(tenant_id, asked, ends, now) or more
        return (has_lapsed and self._miss_lapsed(tenant_id, now)) or more

    def _miss_lapsed(self, tenant_id: str, now: datetime) -> bool:
        with transaction(self._engine, tenant_id) as session:
            return InspectionRepository(session, tenant_id).miss_lapsed(now, PIECE) == PIECE

    def _plan(self, tenant_id: str, active: Sequence[Inspection], now: datetime) -> bool:
        for row in active:
            key = (row.id, row.version)
            if now < self._look_at.get(key, now):
                continue
            with transaction(self._engine, tenant_id) as session:
                more, look_at = self._plan_piece(session, tenant_id, row.id, now)
            if more:
                return True
            self._look_at[key] = look_at
        return False

    def _plan_piece(self, session: Session, tenant_id: str, inspection_id: str, now: datetime) -> tuple[bool, datetime]:
        """A piece of the turns of the first round that lacks some; or when to look again, if none does."""
        rows = InspectionRepository(session, tenant_id)
        devices = self._devices(session, tenant_id)
        row = rows.get(inspection_id, locked=True)
        if row is None or row.state != PlanState.ACTIVE:
            return False, now
        plan = plan_of(row)
        filters = filters_of(plan.group)
        begin = max(row.planned_from, now - LOOK_BACK)
        known = {(one.local_date, one.timezone): one for one in rows.rounds_since(row.id, begin - timedelta(days=1))}
        zones = devices.zones(filters)
        look_at = now + _LOOK_AGAIN
        for name, count in zones.items():
            zone = ZoneInfo(name)
            for window in plan.times.windows(zone, begin, now + LEAD):
                found = known.get((window.local_date.isoformat(), name))
                if found is None:
                    found = _round(row, name, window, count, now)
                    rows.add(found)
                if found.planned_after is not None:
                    ids = devices.ids_in_zone(filters, name, found.planned_after, PIECE)
                    rows.add_turns([_turn(row, name, window, device_id, now) for device_id in ids])
                    found.planned_after = ids[-1] if len(ids) == PIECE else None
                    rows.add(found)
                    return True, now
            look_at = min(look_at, plan.times.next_after(zone, now + LEAD + timedelta(seconds=1)) - LEAD)
        return False, look_at

    def _ask(
        self, tenant_id: str, due: Sequence[InspectionTurn], plans: Mapping[str, Inspection | None], now: datetime
    ) -> bool:
        requests = 0
        for turn in due:
            if requests >= REQUESTS_A_STEP:
                return True
            row = plans[turn.inspection_id]
            if row is None:
                continue
            values = self._asked(tenant_id, turn, row, now)
            requests += len(values.get("results", ()))
            self._save(tenant_id, turn, TurnState.WAITING, values)
        return len(due) == DEVICES_A_STEP

    def _asked(self, tenant_id: str, turn: InspectionTurn, row: Inspection, now: datetime) -> dict[str, Any]:
        """What becomes of a turn whose moment has come."""
        try:
            with reading(self._engine, tenant_id) as session:
                devices = self._devices(session, tenant_id)
                target = devices.command_target(turn.device_id)
                declared = devices.declared_actions(target)
        except DeviceNotFound:
            return _missed(Missed.RETIRED, now)
        if not target.is_link_online:
            return _later(turn, Missed.OFFLINE, now)
        if target.capability_digest is None:
            return _later(turn, Missed.UNKNOWN, now)
        checks = _those_it_has(row, declared)
        if not checks:
            return {
                "state": TurnState.DONE.value,
                "outcome": "unsupported",
                "reason": "",
                "asked_at": now,
                "ended_at": now,
            }
        try:
            results = {check: self._request(tenant_id, turn, row, target, check, now) for check in checks}
        except FreezeInForce:
            return _later(turn, Missed.FREEZE, now)
        return {"state": TurnState.ASKED.value, "results": results, "reason": "", "asked_at": now}

    def _request(
        self, tenant_id: str, turn: InspectionTurn, row: Inspection, target: CommandTarget, check: str, now: datetime
    ) -> dict[str, str]:
        actor = Actor(f"inspection:{row.id}", f"inspection: {row.name}", Role.SUPPORT, tenant_id, ActorKind.TOKEN)
        key = f"{turn.local_date}:{turn.device_id}:{check}"[:120]
        try:
            asked = self._desk.request(actor, Wish(target.device_id, check, {}, is_planned=True), now, key)
        except FreezeInForce:
            raise
        except FleetError as error:
            return {"outcome": "error", "code": error.code}
        return {"execution": asked.id}

    def _gather(
        self, tenant_id: str, asked: Sequence[InspectionTurn], ends: Mapping[str, dict[str, str]], now: datetime
    ) -> bool:
        for turn in asked:
            results = {check: {**one, **ends.get(one.get("execution", ""), {})} for check, one in turn.results.items()}
            if all("outcome" in one for one in results.values()):
                state, outcome, reason = settled(results)
                values = {
                    "state": state.value,
                    "outcome": outcome,
                    "reason": reason,
                    "results": results,
                    "ended_at": now,
                }
                self._save(tenant_id, turn, TurnState.ASKED, values)
        is_all = len(asked) < GATHERED_A_STEP
        self._gathered[tenant_id] = _START if is_all else (asked[-1].due_at, asked[-1].device_id)
        return not is_all

    def _save(self, tenant_id: str, turn: InspectionTurn, was: TurnState, values: dict[str, Any]) -> None:
        key: Key = (turn.inspection_id, turn.local_date, turn.device_id)
        with transaction(self._engine, tenant_id) as session:
            InspectionRepository(session, tenant_id).save_turn(key, was, values)

    def _devices(self, session: Session, tenant_id: str) -> DeviceService:
        return DeviceService(DeviceRepository(session, tenant_id), self._cache)


def _those_it_has(row: Inspection, declared: Sequence[Action]) -> list[str]:
    names = {one.name for one in declared if is_asked_for(one)}
    return [check for check in row.checks if check in names]


def _round(row: Inspection, zone: str, window: Window, devices: int, now: datetime) -> InspectionRound:
    """``planned_after`` null: there is nothing to plan for a window that has closed."""
    is_over = window.closes_at <= now
    return InspectionRound(
        inspection_id=row.id,
        local_date=window.local_date.isoformat(),
        timezone=zone,
        tenant_id=row.tenant_id,
        opens_at=window.opens_at,
        closes_at=window.closes_at,
        devices=devices,
        planned_after=None if is_over else "",
        reason=Missed.SERVER_AWAY.value if is_over else "",
    )


def _turn(row: Inspection, zone: str, window: Window, device_id: str, now: datetime) -> dict[str, Any]:
    return {
        "inspection_id": row.id,
        "local_date": window.local_date.isoformat(),
        "device_id": device_id,
        "timezone": zone,
        "due_at": moment(row.id, device_id, window, now),
        "closes_at": window.closes_at,
        "state": TurnState.WAITING.value,
        "outcome": "",
        "reason": "",
        "results": {},
    }


def _later(turn: InspectionTurn, reason: Missed, now: datetime) -> dict[str, Any]:
    return {"due_at": min(now + _OFFLINE_LOOK, turn.closes_at), "reason": reason.value}


def _missed(reason: Missed, now: datetime) -> dict[str, Any]:
    return {"state": TurnState.MISSED.value, "reason": reason.value, "ended_at": now}
