"""How far back the fleet's memory reaches: events and records that are old enough are forgotten, and for what is kept
of health (`fleet_server.health.upkeep`) the same way of forgetting device by device.

Each call forgets at most about ``BATCH`` rows by an index that is there anyway, and looks at a few devices only, so
that on neither database anybody waits for it and writing costs no more than without. What makes a record new or a
repetition (`fleet_server.ingest.watermarks`) stays, so nothing that was forgotten is taken a second time. The newest
event stays too: ids go on from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, select
from sqlmodel import Session

from fleet_server.devices.models import Device
from fleet_server.ingest.models import StoredRecord
from fleet_server.timeline.models import Event

# A piece of so many holds SQLite's one lock for some ten milliseconds.
BATCH = 250
_DEVICES = 200
_DEVICE = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_EVENT = Event.__table__  # type: ignore[attr-defined]  # as above
_RECORD: Table = StoredRecord.__table__  # type: ignore[attr-defined]  # as above
DEVICE_ID = _DEVICE.c.id


@dataclass(frozen=True, slots=True)
class Step:
    """``after``: behind which device the next step goes on; "" at the end of a round through all devices."""

    forgotten: int
    after: str


def forget_events(session: Session, before: datetime, batch: int = BATCH) -> int:
    """How many were forgotten, of all tenants: ids ascend with the moments of recording, the lowest are the oldest."""
    connection = session.connection()
    newest: int = connection.execute(select(func.coalesce(func.max(_EVENT.c.id), 0))).scalar_one()
    lowest = select(_EVENT.c.id, _EVENT.c.received_at).where(_EVENT.c.id < newest).order_by(_EVENT.c.id).limit(batch)
    last = 0
    for id_, received_at in connection.execute(lowest):
        if received_at >= before:
            break
        last = id_
    return _count(session, delete(_EVENT).where(_EVENT.c.id <= last)) if last else 0


def forget_records(session: Session, tenant_id: str, before: datetime, after: str = "", batch: int = BATCH) -> Step:
    """Records are acknowledged the moment they are received."""
    return forget_by_device(session, tenant_id, _RECORD, _RECORD.c.received_at, before, after, batch)


def forget_by_device(
    session: Session,
    tenant_id: str,
    table: Table,
    moment: Any,
    before: datetime,
    after: str,
    batch: int = BATCH,
    *,
    spared: ColumnElement[bool] | None = None,
) -> Step:
    """Rows of ``table`` whose ``moment`` is earlier, by an index on both. ``spared``: devices whose rows stay."""
    # By the ids alone: PostgreSQL, before it knows the table, would gather the whole tenant for each piece.
    next_ = select(_DEVICE.c.id).where(_DEVICE.c.tenant_id.concat("") == tenant_id, _DEVICE.c.id > after)
    ids = list(session.execute(next_.order_by(_DEVICE.c.id).limit(_DEVICES)).scalars())
    # One look into the index for each device; a join would leave it to the planner to read the whole table.
    oldest = select(moment).where(table.c.device_id == _DEVICE.c.id).order_by(moment).limit(1).scalar_subquery()
    have_old = select(_DEVICE.c.id).where(_DEVICE.c.id.in_(ids), oldest < before).order_by(_DEVICE.c.id)
    if spared is not None:
        have_old = have_old.where(~spared)
    forgotten = 0
    for device_id in session.execute(have_old).scalars().all() if ids else ():
        forgotten += _forget_of(session, table, moment, device_id, before, batch - forgotten)
        if forgotten >= batch:
            return Step(forgotten, after)
        after = device_id
    return Step(forgotten, ids[-1] if len(ids) == _DEVICES else "")


def _forget_of(session: Session, table: Table, moment: Any, device_id: str, before: datetime, limit: int) -> int:
    """At least ``limit`` if there are so many: those of the same moment go together."""
    of_device = (table.c.device_id == device_id, moment < before)
    last = session.execute(select(moment).where(*of_device).order_by(moment).limit(1).offset(limit - 1)).scalar()
    until = of_device if last is None else (*of_device, moment <= last)
    return _count(session, delete(table).where(*until))


def _count(session: Session, statement: Any) -> int:
    return int(session.connection().execute(statement).rowcount)
