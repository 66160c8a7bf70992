"""Every query on the ledger of executions and on callers' idempotency keys. Made for one tenant; never commits.

Rows that are about to be moved are read with their lock held, so that two processes never move one execution from the
same place. Whoever sends what it has locked holds its device before (`fleet_server.db`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, delete, func, insert, or_, update
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from fleet_server.assignments.narrowing import assigned_devices
from fleet_server.devices.models import Device
from fleet_server.executions.ledger import Standing, Terms
from fleet_server.executions.models import Execution, IdempotencyKey
from protocol.commands import SOAK_S, ActionKind, DangerClass
from protocol.executions import SENDING, UNANSWERED, ExecutionState, Result
from protocol.parameters import ParamValue

_STANDING = tuple(field.name for field in fields(Standing))
_FACTS = ("id", "tenant_id", "device_id", "link_id", "action", "kind", "danger_class", "params", "declared", "actor")
_ASKED = ("override_reason", "override_holds", "supersedes", "permit_id", "asks_consent", "is_planned", "queued_until")
_ENTRY = (*_FACTS, *_ASKED, *_STANDING)
_SENDING = tuple(sorted(state.value for state in SENDING))
_UNANSWERED = tuple(sorted(state.value for state in UNANSWERED))
_TABLE = Execution.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_DEVICE = Device.__table__  # type: ignore[attr-defined]  # as above

# On the way from a request to its verdict: built once, for building costs more than asking.
_INSERT = insert(_TABLE)
_COLUMNS: list[Any] = [_TABLE.c[name] for name in _ENTRY]
_LOCKING = sa_select(*_COLUMNS).where(_TABLE.c.tenant_id == bindparam("tenant_id")).with_for_update()
_LOCKED = _LOCKING.where(_TABLE.c.id.in_(bindparam("ids", expanding=True))).order_by(_TABLE.c.id)
_LOCKED_ONE = _LOCKING.where(_TABLE.c.id == bindparam("id"))
_SAVE = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("of_execution"), _TABLE.c.tenant_id == bindparam("of_tenant"))
    .values({name: bindparam(name) for name in (*_STANDING, "is_final", "result")})
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One execution as the ledger moves it."""

    id: str
    tenant_id: str
    device_id: str
    link_id: str
    action: str
    kind: ActionKind
    danger_class: DangerClass
    params: dict[str, ParamValue]
    actor: str
    override_reason: str | None
    terms: Terms
    standing: Standing
    permit_id: str | None = None  # the shift permit that allows it, where one does
    asks_consent: bool = False  # the terminal is to ask the merchant
    override_holds: bool = False  # ``override_reason`` is also why it need not wait for a safe moment
    supersedes: str | None = None
    is_planned: bool = False  # part of something for many devices


@dataclass(frozen=True, slots=True)
class ExecutionFilters:
    device: str | None = None
    state: ExecutionState | None = None
    open_only: bool = False
    code: str | None = None
    result: Result | None = None


class ExecutionRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def get(self, execution_id: str) -> Execution | None:
        statement = select(Execution).where(
            col(Execution.id) == execution_id,
            col(Execution.tenant_id) == self._tenant_id,
            *assigned_devices(self._session, col(Execution.device_id)),
        )
        return self._session.exec(statement).first()

    def add(self, values: dict[str, Any]) -> None:
        self._session.connection().execute(_INSERT, {**values, "tenant_id": self._tenant_id})

    def newest_first(
        self, filters: ExecutionFilters, after: tuple[datetime, str] | None, limit: int
    ) -> list[Execution]:
        seen = assigned_devices(self._session, col(Execution.device_id))
        statement = select(Execution).where(col(Execution.tenant_id) == self._tenant_id, *seen)
        if filters.device is not None:
            statement = statement.where(col(Execution.device_id) == filters.device)
        if filters.state is not None:
            statement = statement.where(col(Execution.state) == filters.state)
        if filters.result is not None:
            statement = statement.where(col(Execution.result) == filters.result)
        if filters.open_only:
            statement = statement.where(col(Execution.is_final).is_(False))
        if filters.code is not None:
            statement = statement.where(col(Execution.code) == filters.code)
        if after is not None:
            created_at, execution_id = after
            same = and_(col(Execution.created_at) == created_at, col(Execution.id) < execution_id)
            statement = statement.where(or_(col(Execution.created_at) < created_at, same))
        ordered = statement.order_by(col(Execution.created_at).desc(), col(Execution.id).desc())
        return list(self._session.exec(ordered.limit(limit)))

    def ended(self, ids: Collection[str]) -> list[tuple[str, str, str | None, str]]:
        """Id, state, outcome and code of those that have ended."""
        columns: list[Any] = [_TABLE.c.id, _TABLE.c.state, _TABLE.c.outcome, _TABLE.c.code]
        statement = sa_select(*columns).where(
            _TABLE.c.id.in_(list(ids)), _TABLE.c.is_final.is_(True), _TABLE.c.tenant_id == self._tenant_id
        )
        return [(row[0], row[1], row[2], row[3]) for row in self._session.execute(statement)]

    def permit_uses(self, permit_ids: Collection[str], device_id: str | None = None) -> dict[str, int]:
        """How many executions were asked on each permit."""
        statement = sa_select(_TABLE.c.permit_id, func.count()).where(
            _TABLE.c.permit_id.in_(list(permit_ids)), _TABLE.c.tenant_id == self._tenant_id
        )
        if device_id is not None:
            statement = statement.where(_TABLE.c.device_id == device_id)
        return {row[0]: row[1] for row in self._session.execute(statement.group_by(_TABLE.c.permit_id))}

    def locked(self, ids: Collection[str]) -> dict[str, Entry]:
        """Those of ``ids`` that exist, locked in one order whoever asks."""
        named: dict[str, Any] = {"tenant_id": self._tenant_id}
        connection = self._session.connection()
        if len(ids) == 1:
            # A lone report is what somebody waits for.
            rows = connection.execute(_LOCKED_ONE, {**named, "id": next(iter(ids))})
        else:
            rows = connection.execute(_LOCKED, {**named, "ids": sorted(ids)})
        return {entry.id: entry for entry in map(_entry, rows)}

    def waiting_on_link(self, link_id: str, sent_before: datetime, limit: int) -> list[Entry]:
        """The oldest that are queued or were sent and never answered, except those another process is just sending.
        Devices that speak through another link by now are not among them.
        """
        unanswered = and_(_TABLE.c.state == ExecutionState.PUBLISHED.value, _TABLE.c.published_at < sent_before)
        statement = self._entry_query().where(
            _TABLE.c.link_id == link_id,
            _TABLE.c.device_id.in_(self._devices_of(link_id)),
            or_(_TABLE.c.state == ExecutionState.QUEUED.value, unanswered),
            _TABLE.c.cancel_asked_at.is_(None),
        )
        return self._entries(statement.order_by(_TABLE.c.id).limit(limit).with_for_update(skip_locked=True))

    def to_cancel_on_link(self, link_id: str, limit: int) -> list[Entry]:
        """Those that somebody wants ended and the device has not answered for, queued again or not."""
        statement = self._entry_query().where(
            _TABLE.c.link_id == link_id,
            _TABLE.c.device_id.in_(self._devices_of(link_id)),
            _TABLE.c.is_final.is_(False),
            _TABLE.c.attempt > 0,
            _TABLE.c.cancel_asked_at.is_not(None),
        )
        return self._entries(statement.order_by(_TABLE.c.id).limit(limit))

    def due(self, now: datetime, limit: int, *, spare_started: bool) -> list[tuple[str, str]]:
        """Those whose state's deadline has passed, with their devices, longest overdue first."""
        statement = sa_select(_TABLE.c.id, _TABLE.c.device_id).where(*self._is_due(now, spare_started=spare_started))
        rows = self._session.execute(statement.order_by(_TABLE.c.deadline_at).limit(limit))
        return [(row[0], row[1]) for row in rows]

    def locked_if_due(self, ids: Collection[str], now: datetime, *, spare_started: bool) -> list[Entry]:
        """Those of ``ids`` that are still due, except those another process is just moving."""
        statement = self._entry_query().where(
            _TABLE.c.id.in_(sorted(ids)), *self._is_due(now, spare_started=spare_started)
        )
        return self._entries(statement.order_by(_TABLE.c.deadline_at).with_for_update(skip_locked=True))

    def _is_due(self, now: datetime, *, spare_started: bool) -> list[Any]:
        conditions: list[Any] = [
            _TABLE.c.tenant_id == self._tenant_id,
            _TABLE.c.is_final.is_(False),
            _TABLE.c.deadline_at <= now,
        ]
        return [*conditions, _TABLE.c.state.in_(_SENDING)] if spare_started else conditions

    def waiting(self, limit: int) -> list[tuple[str, str]]:
        """Those that have not been sent, or were sent and not answered, with their devices; not those whose end
        somebody wants already.
        """
        statement = sa_select(_TABLE.c.id, _TABLE.c.device_id).where(
            _TABLE.c.tenant_id == self._tenant_id,
            _TABLE.c.is_final.is_(False),
            _TABLE.c.cancel_asked_at.is_(None),
            _TABLE.c.state.in_(_UNANSWERED),
        )
        return [(row[0], row[1]) for row in self._session.execute(statement.order_by(_TABLE.c.id).limit(limit))]

    def set_permit(self, execution_id: str, permit_id: str) -> None:
        statement = update(_TABLE).where(_TABLE.c.id == execution_id, _TABLE.c.tenant_id == self._tenant_id)
        self._session.execute(statement.values(permit_id=permit_id))

    def device_of(self, execution_id: str) -> str | None:
        statement = sa_select(_TABLE.c.device_id).where(
            _TABLE.c.id == execution_id,
            _TABLE.c.tenant_id == self._tenant_id,
            *assigned_devices(self._session, _TABLE.c.device_id),
        )
        return self._session.execute(statement).scalar()

    def save(self, changes: Iterable[tuple[Entry, Standing]]) -> None:
        ours = {"of_tenant": self._tenant_id}
        rows = [
            {**ours, "of_execution": entry.id, **standing_columns(standing, entry.kind)} for entry, standing in changes
        ]
        if rows:
            self._session.connection().execute(_SAVE, rows)

    def note_cancel(self, execution_id: str, actor: str, now: datetime) -> None:
        statement = update(_TABLE).where(_TABLE.c.id == execution_id, _TABLE.c.tenant_id == self._tenant_id)
        self._session.execute(statement.values(cancel_asked_at=now, cancel_asked_by=actor))

    def idempotency(self, caller: str, key: str) -> IdempotencyKey | None:
        return self._session.exec(select(IdempotencyKey).where(*self._keyed(caller, key))).first()

    def remember(self, key: IdempotencyKey, now: datetime) -> None:
        """Takes the place of an expired one of the same name; another that holds is an ``IntegrityError``."""
        same = self._keyed(key.caller, key.key)
        self._session.execute(delete(IdempotencyKey).where(*same, col(IdempotencyKey.expires_at) <= now))
        self._session.add(key)
        self._session.flush()

    def forget_expired_keys(self, now: datetime) -> int:
        ours = col(IdempotencyKey.tenant_id) == self._tenant_id
        result = self._session.execute(delete(IdempotencyKey).where(ours, col(IdempotencyKey.expires_at) < now))
        return int(getattr(result, "rowcount", 0))

    def _keyed(self, caller: str, key: str) -> tuple[ColumnElement[bool], ...]:
        ours = col(IdempotencyKey.tenant_id) == self._tenant_id
        return ours, col(IdempotencyKey.caller) == caller, col(IdempotencyKey.key) == key

    def _devices_of(self, link_id: str) -> Select[Any]:
        return sa_select(_DEVICE.c.id).where(_DEVICE.c.link_id == link_id, _DEVICE.c.tenant_id == self._tenant_id)

    def _entry_query(self) -> Select[Any]:
        return sa_select(*_COLUMNS).where(_TABLE.c.tenant_id == self._tenant_id)

    def _entries(self, statement: Select[Any]) -> list[Entry]:
        return [_entry(row) for row in self._session.execute(statement)]


def counts_by_state(session: Session) -> dict[str, int]:
    """Of all tenants together: counts that say nothing of any of them."""
    return dict(session.exec(select(Execution.state, func.count()).group_by(col(Execution.state))).all())


def standing_columns(standing: Standing, kind: ActionKind) -> dict[str, Any]:
    values = {name: getattr(standing, name) for name in _STANDING}
    result = standing.result(kind)
    return {
        **values,
        "state": standing.state.value,
        "is_final": standing.is_final,
        "result": None if result is None else result.value,
    }


def _entry(row: Row[Any]) -> Entry:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row by column names
    declared: dict[str, Any] = values["declared"]
    kind = ActionKind(values["kind"])
    standing = {name: values[name] for name in _STANDING}
    return Entry(
        id=values["id"],
        tenant_id=values["tenant_id"],
        device_id=values["device_id"],
        link_id=values["link_id"],
        action=values["action"],
        kind=kind,
        danger_class=DangerClass(values["danger_class"]),
        params=values["params"],
        actor=values["actor"],
        override_reason=values["override_reason"],
        permit_id=values["permit_id"],
        asks_consent=bool(values["asks_consent"]),
        override_holds=bool(values["override_holds"]),
        supersedes=values["supersedes"],
        is_planned=bool(values["is_planned"]),
        terms=Terms(kind, float(declared["timeout_s"]), float(declared.get("soak_s", SOAK_S)), values["queued_until"]),
        standing=Standing(**{**standing, "state": ExecutionState(values["state"])}),
    )
