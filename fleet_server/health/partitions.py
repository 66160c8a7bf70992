"""Partitions by time of blocks and rollups on PostgreSQL: made before they are needed, dropped whole when all in them
is old. SQLite has none.

An insert never fails for lack of a partition: what has none, such as samples that come months late, goes to the table's
rest. A partition is made beside the tables and attached, which hinders neither readers nor writers of the others; where
the rest already holds rows of its time, it is not made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

SCHEMA: Final = "health_parts"
# Whoever waits for a lock keeps everybody else waiting behind it; it is tried again in ten minutes.
_LOCK_PATIENCE = "SET LOCAL lock_timeout = '2s'"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Partitioned:
    """``ahead``: so many periods beyond the present one."""

    table: str
    column: str
    period: timedelta
    ahead: int

    @property
    def rest(self) -> str:
        return f"{self.table}_rest"

    def begin_of(self, moment: datetime) -> datetime:
        return _EPOCH + (moment - _EPOCH) // self.period * self.period

    def name_of(self, begin_at: datetime) -> str:
        return f"{self.table}_{begin_at:%Y%m%d}"


BLOCKS = Partitioned("health_block", "start_at", timedelta(days=1), 4)
FIVE_MINUTES = Partitioned("health_5min", "span_at", timedelta(days=8), 1)
HOURS = Partitioned("health_hour", "span_at", timedelta(days=96), 1)
DAYS = Partitioned("health_day", "span_at", timedelta(days=288), 1)
ALL = (BLOCKS, FIVE_MINUTES, HOURS, DAYS)


def has_partitions(session: Session) -> bool:
    return session.connection().dialect.name == "postgresql"


def make_ahead(session: Session, kind: Partitioned, now: datetime) -> list[str]:
    """The partitions made: of the present period and the next ones."""
    there = {name for name, _ in existing(session, kind)}
    made = []
    for number in range(kind.ahead + 1):
        begin_at = kind.begin_of(now) + number * kind.period
        if kind.name_of(begin_at) not in there and not _rest_has(session, kind, begin_at):
            _make(session, kind, begin_at)
            made.append(kind.name_of(begin_at))
    return made


def drop_before(session: Session, kind: Partitioned, before: datetime) -> list[str]:
    """The partitions dropped: at most one a call, oldest first, with all in it older than ``before``."""
    for name, begin_at in existing(session, kind):
        if begin_at + kind.period <= before:
            session.execute(text(_LOCK_PATIENCE))
            session.execute(text(f'DROP TABLE {SCHEMA}."{name}"'))
            return [name]
    return []


def existing(session: Session, kind: Partitioned) -> list[tuple[str, datetime]]:
    """Partitions and where each begins, oldest first, without the rest."""
    statement = text(
        "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
        "WHERE inhparent = CAST(:parent AS regclass) ORDER BY child.relname"
    )
    names = session.execute(statement, {"parent": kind.table}).scalars()
    return list(_dated(kind, names))


def _dated(kind: Partitioned, names: Iterator[str]) -> Iterator[tuple[str, datetime]]:
    for name in names:
        if name != kind.rest:
            yield name, datetime.strptime(name.rpartition("_")[2], "%Y%m%d").replace(tzinfo=UTC)


def _rest_has(session: Session, kind: Partitioned, begin_at: datetime) -> bool:
    statement = text(
        f"SELECT EXISTS (SELECT FROM {SCHEMA}.{kind.rest} "  # noqa: S608 - names of our own tables
        f"WHERE {kind.column} >= :begin AND {kind.column} < :end)"
    )
    return bool(session.execute(statement, {"begin": begin_at, "end": begin_at + kind.period}).scalar())


def _make(session: Session, kind: Partitioned, begin_at: datetime) -> None:
    name, end_at = kind.name_of(begin_at), begin_at + kind.period
    session.execute(text(_LOCK_PATIENCE))
    session.execute(text(f'CREATE TABLE {SCHEMA}."{name}" (LIKE {kind.table} INCLUDING DEFAULTS INCLUDING STORAGE)'))
    session.execute(
        text(
            f'ALTER TABLE {kind.table} ATTACH PARTITION {SCHEMA}."{name}" '
            f"FOR VALUES FROM ('{begin_at.isoformat()}') TO ('{end_at.isoformat()}')"
        )
    )
