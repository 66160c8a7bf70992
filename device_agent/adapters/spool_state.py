"""How the spool is, for whoever stands before the device: how full, how far back it waits, and what it gave up.

Read only. A gap on this side is never open: what is given up is declared in the same transaction, and what remains to
be seen is whether the server has acknowledged the declaration.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from device_agent.core.records import RANK_DECLARATION
from protocol.session import StreamPosition
from protocol.streams import StreamKind


@dataclass(frozen=True, slots=True)
class Waiting:
    """Records that the server has not acknowledged; ``oldest_ms`` is 0 when there is none or its time is not known."""

    records: int
    oldest_ms: int


@dataclass(frozen=True, slots=True)
class SpoolState:
    used_bytes: int
    quota_bytes: int
    # Then it makes do with the room that its file has, in small steps.
    is_disk_full: bool
    waiting: dict[StreamKind, Waiting]
    declarations_waiting: int


def waiting(db: sqlite3.Connection, position: StreamPosition) -> Waiting:
    query = "SELECT count(*), coalesce(min(at_ms), 0) FROM record WHERE stream = ? AND seq > ?"
    return Waiting(*db.execute(query, (position.kind.value, position.acked)).fetchone())


def oldest_waiting_ms(db: sqlite3.Connection, positions: Iterable[StreamPosition]) -> int | None:
    """None when nothing waits, or what waits was saved from a damaged file."""
    query = "SELECT at_ms FROM record WHERE stream = ? AND seq > ? ORDER BY seq LIMIT 1"
    found = [db.execute(query, (position.kind.value, position.acked)).fetchone() for position in positions]
    return min((row[0] for row in found if row is not None and row[0]), default=None)


def declarations_waiting(db: sqlite3.Connection, position: StreamPosition) -> int:
    """Tombstones and declared losses among what the server has not acknowledged."""
    query = "SELECT count(*) FROM record WHERE stream = ? AND seq > ? AND rank = ?"
    return int(db.execute(query, (position.kind.value, position.acked, RANK_DECLARATION)).fetchone()[0])
