"""What the scheduler does for health: folding, partitions ahead of time, and forgetting what is old, level by level.

On PostgreSQL whole partitions go; only what lies in the rest, and everything on SQLite, goes row by row in small
pieces. Nothing that is in no rollup yet is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import MetaData, Table, exists, func, select
from sqlmodel import Session

from fleet_server import memory
from fleet_server.health import partitions
from fleet_server.health.folding import TABLES
from fleet_server.health.models import DeviceHealth, HealthBlock
from fleet_server.health.partitions import Partitioned
from fleet_server.health.rollups import Level
from fleet_server.settings import HealthKept

_HEALTH = DeviceHealth.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_BLOCK: Table = HealthBlock.__table__  # type: ignore[attr-defined]  # as above
_RESTS = MetaData(schema=partitions.SCHEMA)


@dataclass(frozen=True, slots=True)
class Kept:
    """One of the tables, and how far back it reaches. ``reach``: how much later than its moment a row may end."""

    table: Table
    kind: Partitioned
    days: int
    reach: timedelta

    def before(self, now: datetime) -> datetime | None:
        return now - timedelta(days=self.days) - self.reach if self.days else None


def kept(days: HealthKept) -> tuple[Kept, ...]:
    def rollup(level: Level, kind: Partitioned, of_level: int) -> Kept:
        return Kept(TABLES[level], kind, of_level, timedelta(milliseconds=level.span_ms))

    return (
        Kept(_BLOCK, partitions.BLOCKS, days.samples_days, timedelta(0)),
        rollup(Level.FIVE_MINUTES, partitions.FIVE_MINUTES, days.five_minutes_days),
        rollup(Level.HOUR, partitions.HOURS, days.hours_days),
        rollup(Level.DAY, partitions.DAYS, days.days_days),
    )


def make_partitions(session: Session, now: datetime) -> None:
    if partitions.has_partitions(session):
        for kind in partitions.ALL:
            partitions.make_ahead(session, kind, now)


def drop_partitions(session: Session, one: Kept, now: datetime) -> bool:
    """Whether one was dropped: another may be old too."""
    before = one.before(now)
    if before is None or not partitions.has_partitions(session):
        return False
    if one.table is _BLOCK:
        before = min(before, _oldest_unfolded(session) or before)
    return bool(partitions.drop_before(session, one.kind, before))


def forget(session: Session, tenant_id: str, one: Kept, now: datetime, after: str = "") -> memory.Step:
    """A piece of what is old row by row, from the device behind ``after`` on."""
    before = one.before(now)
    if before is None:
        return memory.Step(0, "")
    table = one.table
    if partitions.has_partitions(session):
        rest = _RESTS.tables.get(f"{partitions.SCHEMA}.{one.kind.rest}")
        table = table.to_metadata(_RESTS, name=one.kind.rest) if rest is None else rest
        if session.execute(select(table.c.device_id).limit(1)).first() is None:
            return memory.Step(0, "")
    moment = table.c[one.kind.column]
    spared = exists().where(_HEALTH.c.device_id == memory.DEVICE_ID, _HEALTH.c.unfolded_since < before)
    return memory.forget_by_device(
        session, tenant_id, table, moment, before, after, spared=spared if one.table is _BLOCK else None
    )


def _oldest_unfolded(session: Session) -> datetime | None:
    return session.execute(select(func.min(_HEALTH.c.unfolded_since))).scalar()
