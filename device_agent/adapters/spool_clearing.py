"""What is deleted from the spool: acknowledged records, then, when there must be room, the least that was not.

Inside the caller's transaction. Invariant: whatever goes without having been acknowledged is declared in the same
transaction. While nobody reads, all that goes of a stream is declared by one tombstone that grows; one that was read
may have been sent, and is never changed again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from device_agent.core.records import RANK_DECLARATION, NewRecord
from device_agent.core.shedding import SHED_ORDER, SHED_SHARE, joined, runs, tombstone, tombstone_in
from protocol.records import RecordBody, Tombstone
from protocol.session import StreamPosition
from protocol.streams import StreamKind

# Of a stream that holds little, at least so many go at a time.
LEAST_GIVEN_UP: Final = 16
_MAX_MS: Final = 2**53
Positions = dict[StreamKind, StreamPosition]


class Clearing:
    def __init__(
        self, db: sqlite3.Connection, wrap: Callable[[RecordBody], bytes], append: Callable[[NewRecord, int], int]
    ) -> None:
        self._db = db
        self._wrap = wrap
        self._append = append
        # By stream that is declared: the number of its tombstone, until that is read.
        self._growing: dict[str, int] = {}
        self.given_up = 0

    def on_read(self, kind: StreamKind, last: int) -> None:
        if kind is StreamKind.URGENT and self._growing:
            self._growing = {stream: seq for stream, seq in self._growing.items() if seq > last}

    def forget_acknowledged(self, positions: Positions, most: int, *, before_ms: int | None = None) -> int:
        """The oldest ``most`` of each stream, where they were made before ``before_ms``; how many went."""
        forgotten = 0
        oldest = "SELECT seq, at_ms FROM record WHERE stream = ? AND seq <= ? ORDER BY seq LIMIT 1"
        for kind, position in positions.items():
            row = self._db.execute(oldest, (kind.value, position.acked)).fetchone()
            if row is None or (before_ms is not None and row[1] >= before_ms):
                continue
            last = min(row[0] + most - 1, position.acked)
            done = self._db.execute(
                "DELETE FROM record WHERE stream = ? AND seq <= ? AND at_ms < ?",
                (kind.value, last, _MAX_MS if before_ms is None else before_ms),
            )
            forgotten += done.rowcount
        return forgotten

    def give_up_oldest(self, positions: Positions, most: int, at_ms: int) -> bool:
        """Up to ``most`` of the lowest rank that is there; False when nothing is left but declarations."""
        query = "SELECT max(seq) FROM (SELECT seq FROM record WHERE stream = ? AND rank < ? ORDER BY seq LIMIT ?)"
        for kind in SHED_ORDER:
            position = positions[kind]
            share = (position.last - position.oldest_held + 1) // SHED_SHARE
            limit = min(max(share, LEAST_GIVEN_UP), most)
            last = self._db.execute(query, (kind.value, RANK_DECLARATION, limit)).fetchone()[0]
            if last is not None:
                self._give_up(position, last, at_ms)
                return True
        return False

    def _give_up(self, position: StreamPosition, last: int, at_ms: int) -> None:
        """All up to ``last``; tombstones among it are said again, for they may not have been heard."""
        kind = position.kind
        query = "SELECT seq, rank, CASE WHEN rank = ? THEN payload END FROM record WHERE stream = ? AND seq <= ?"
        rows = self._db.execute(query + " ORDER BY seq", (RANK_DECLARATION, kind.value, last)).fetchall()
        # Of declarations only those: what tells of a lost spool stays.
        dug_up = {seq: grave for seq, _, payload in rows if payload and (grave := tombstone_in(payload)) is not None}
        plain = [seq for seq, rank, _ in rows if rank != RANK_DECLARATION]
        graves = list(dug_up.values())
        for run in runs(kind, sorted([*plain, *dug_up])):
            graves.append(tombstone(run, position.stream, sum(map(run.holds, plain))))
            numbers = (kind.value, run.first, run.last)
            self._db.execute("DELETE FROM record WHERE stream = ? AND seq BETWEEN ? AND ?", numbers)
        self._db.execute("UPDATE stream SET shed = shed + ? WHERE kind = ?", (len(plain), kind.value))
        self.given_up += len(plain)
        for grave in joined(graves):
            self._declare(grave, at_ms)

    def _declare(self, grave: Tombstone, at_ms: int) -> None:
        place = (StreamKind.URGENT.value, self._growing.get(grave.stream, 0))
        row = self._db.execute("SELECT payload FROM record WHERE stream = ? AND seq = ?", place).fetchone()
        before = tombstone_in(row[0]) if row is not None else None
        whole = joined([grave] if before is None else [grave, before])
        if before is not None and len(whole) == 1:
            payload = self._wrap(whole[0])
            self._db.execute("UPDATE record SET payload = ? WHERE stream = ? AND seq = ?", (payload, *place))
        else:
            record = NewRecord(StreamKind.URGENT, RANK_DECLARATION, self._wrap(grave))
            self._growing[grave.stream] = self._append(record, at_ms)
