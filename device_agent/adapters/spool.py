"""The agent's memory on disk: both streams, the journal and small facts in one SQLite file (WAL, synchronous=FULL).

One file, so that a journal row and its record are one transaction. Invariants: `seq` of a stream has no holes but those
that a tombstone declares, and is never used twice under one stream id; what `commit` returned from survives kill and
power cut; the file stays under its quota. Acknowledged records are kept for a retention window, in case the server is
set back, and are the first to go. A disk error is fatal for the process: the same descriptor is never tried again.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from device_agent.adapters import ballast
from device_agent.adapters.spool_clearing import Clearing
from device_agent.adapters.spool_rescue import STREAM_FACT, TAKEN_OVER_FACT, Salvage, rescue
from device_agent.adapters.spool_schema import CHECKPOINT_PAGES, PAGE_BYTES, SCHEMA
from device_agent.adapters.spool_state import SpoolState, declarations_waiting, oldest_waiting_ms, waiting
from device_agent.core.ports import Fill
from device_agent.core.records import RANK_DECLARATION, Changes, NewRecord
from device_agent.core.shedding import SHED_RECORDS
from device_agent.errors import AgentError
from protocol.records import RecordBody
from protocol.session import StreamPosition
from protocol.streams import StreamKind

DEFAULT_QUOTA_BYTES: Final = 32 * 1024 * 1024
RETENTION_MS: Final = 72 * 3600 * 1000
# Acknowledged records may take this share of the quota before the retention window is over.
RETENTION_SHARE: Final = 0.2
# Final executions kept to answer a command that is delivered again.
JOURNAL_ROWS: Final = 1000
_SHED_TRIES: Final = 64
# Log and deletions on a full disk, where the ballast is all the room there is.
TIGHT_PAGES: Final = 16
# Free pages that only giving up may use, or this part of a small file: a tombstone is written before there is room.
RESERVE_PAGES: Final = 8
RESERVE_SHARE: Final = 8
# Taken over from a damaged file in one commit.
_SALVAGED_TOGETHER: Final = 20


_NAME_STREAM: Final = (
    "INSERT INTO fact (name, value) SELECT ?, id FROM stream WHERE kind = ? "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value"
)


class SpoolFailed(AgentError):
    """The disk did not keep what it was given; the process ends and opens the file anew."""

    code = "spool_failed"


class _ReserveTouched(Exception):
    """The commit would leave no room for giving up; it is made after something was given up."""


class Spool:
    """Used by one thread. ``wrap`` makes a record's bytes of what the spool itself has to declare."""

    def __init__(
        self, path: Path, wrap: Callable[[RecordBody], bytes], *, quota_bytes: int = DEFAULT_QUOTA_BYTES
    ) -> None:
        self._path = path
        self._ballast = path.with_suffix(".ballast")
        self._quota_bytes = quota_bytes
        self._is_tight = False
        self._wrap = wrap
        self.salvaged = rescue(path)
        self._db = _opened(path, quota_bytes)
        self._clearing = Clearing(self._db, wrap, self._append)
        # Written with the next commit: losing one costs a batch sent twice.
        self._acked: dict[StreamKind, int] = {}
        self._positions = self._load_positions()
        if self.salvaged is not None:
            self._take_over(self.salvaged)
        ballast.keep(self._ballast)

    def close(self) -> None:
        self._db.close()

    def positions(self) -> dict[StreamKind, StreamPosition]:
        return self._positions

    def commit(self, changes: Changes, at_ms: int) -> bool:
        given_up, has_more = self._clearing.given_up, True
        for _ in range(_SHED_TRIES):
            try:
                with self._transaction():
                    self._write(changes, at_ms)
                    if has_more:
                        self._spare_reserve()
            except _ReserveTouched:
                has_more = self._make_room(at_ms)
            except sqlite3.OperationalError as error:
                self._expect_full(error)
                if not self._is_at_quota():
                    self._tighten()
                if not self._make_room(at_ms):
                    break
            else:
                self._positions = self._load_positions()
                return self._clearing.given_up > given_up
        raise SpoolFailed(f"{self._path.name} has no room for a commit, and nothing that could be given up for it")

    def read(
        self, kind: StreamKind, first_seq: int, *, max_records: int, max_bytes: int
    ) -> Sequence[tuple[int, bytes]]:
        rows: list[tuple[int, bytes]] = []
        size = 0
        query = "SELECT seq, payload FROM record WHERE stream = ? AND seq >= ? ORDER BY seq LIMIT ?"
        for seq, payload in self._db.execute(query, (kind.value, first_seq, max_records)):
            size += len(payload) + 1
            if rows and (seq != rows[-1][0] + 1 or size > max_bytes):
                break
            rows.append((seq, payload))
        if rows:
            self._clearing.on_read(kind, rows[-1][0])
        return rows

    def acknowledge(self, kind: StreamKind, upto: int) -> None:
        self._acked[kind] = upto
        self._positions[kind] = msgspec.structs.replace(self._positions[kind], acked=upto)

    def renew_stream(self, kind: StreamKind, new_id: str) -> int:
        acked = self._positions[kind].acked
        held = "SELECT rank, at_ms, payload FROM record WHERE stream = ? AND seq > ? ORDER BY seq"
        rows = self._db.execute(held, (kind.value, acked)).fetchall()
        with self._guarded():
            self._db.execute("DELETE FROM record WHERE stream = ?", (kind.value,))
            self._db.execute("UPDATE stream SET id = ?, last = 0, acked = 0 WHERE kind = ?", (new_id, kind.value))
            self._write(Changes(facts={STREAM_FACT + kind: new_id}), 0)
            self._acked.pop(kind, None)
            # Numbers that are known elsewhere have changed.
            self._clearing.on_read(kind, self._positions[kind].last)
            for rank, at_ms, payload in rows:
                self._append(NewRecord(kind, rank, payload), at_ms)
        self._positions = self._load_positions()
        return len(rows)

    def fact(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def facts(self, prefix: str) -> dict[str, str]:
        query = "SELECT name, value FROM fact WHERE substr(name, 1, ?) = ? ORDER BY name"
        return dict(self._db.execute(query, (len(prefix), prefix)))

    def remember(self, facts: dict[str, str | None]) -> None:
        with self._guarded():
            self._write(Changes(facts=facts), 0)

    def journal(self) -> dict[str, bytes]:
        return dict(self._db.execute("SELECT execution, body FROM journal ORDER BY place"))

    def newest_record_ms(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(at_ms), 0) FROM record").fetchone()[0])

    def tidy(self, now_ms: int) -> None:
        """Forgets acknowledged records beyond the retention window or share, and old final executions."""
        try:
            with self._transaction():
                self._forget_old(now_ms)
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.OperationalError as error:
            self._expect_full(error)
            self._tighten()
        if ballast.keep(self._ballast) and self._is_tight:
            self._relax()
        self._positions = self._load_positions()

    def check(self) -> str:
        """SQLite's own word on the file: ``ok``, or what is wrong with it."""
        return str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])

    def fill(self) -> Fill:
        oldest_ms = oldest_waiting_ms(self._db, self._positions.values())
        return Fill(self._used_pages() * PAGE_BYTES, self._quota_bytes, oldest_ms)

    def state(self) -> SpoolState:
        return SpoolState(
            used_bytes=self._used_pages() * PAGE_BYTES,
            quota_bytes=self._quota_bytes,
            is_disk_full=self._is_tight,
            waiting={kind: waiting(self._db, position) for kind, position in self._positions.items()},
            declarations_waiting=declarations_waiting(self._db, self._positions[StreamKind.URGENT]),
        )

    def _forget_old(self, now_ms: int) -> None:
        self._clearing.forget_acknowledged(self._positions, SHED_RECORDS, before_ms=now_ms - RETENTION_MS)
        if self._used_pages() > int(RETENTION_SHARE * self._quota_pages()):
            self._clearing.forget_acknowledged(self._positions, SHED_RECORDS)
        self._db.execute("DELETE FROM journal WHERE place <= (SELECT max(place) FROM journal) - ?", (JOURNAL_ROWS,))

    def _write(self, changes: Changes, at_ms: int) -> None:
        for record in changes.records:
            self._append(record, at_ms)
        for execution, body in changes.journal.items():
            if body is None:
                self._db.execute("DELETE FROM journal WHERE execution = ?", (execution,))
            else:
                self._db.execute(
                    "INSERT INTO journal (execution, body) VALUES (?, ?) "
                    "ON CONFLICT (execution) DO UPDATE SET body = excluded.body",
                    (execution, body),
                )
        for name, value in changes.facts.items():
            if value is None:
                self._db.execute("DELETE FROM fact WHERE name = ?", (name,))
            else:
                self._db.execute("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", (name, value))

    def _append(self, record: NewRecord, at_ms: int) -> int:
        kind = record.stream.value
        seq: int = self._db.execute(
            "UPDATE stream SET last = last + 1 WHERE kind = ? RETURNING last", (kind,)
        ).fetchone()[0]
        self._db.execute(
            "INSERT INTO record (stream, seq, rank, at_ms, payload) VALUES (?, ?, ?, ?, ?)",
            (kind, seq, record.rank, at_ms, record.payload),
        )
        return seq

    def _make_room(self, at_ms: int) -> bool:
        """Acknowledged records go first, then the lowest rank, oldest first, declared; False when nothing is left."""
        with self._guarded():
            is_roomier = bool(self._clearing.forget_acknowledged(self._positions, self._most_shed))
            is_roomier = is_roomier or self._clearing.give_up_oldest(self._positions, self._most_shed, at_ms)
        self._positions = self._load_positions()
        return is_roomier

    @property
    def _most_shed(self) -> int:
        # Deleting touches a page a record, and each goes through the log.
        return TIGHT_PAGES if self._is_tight else SHED_RECORDS

    def _spare_reserve(self) -> None:
        limit = self._quota_pages()
        if self._used_pages() > limit - min(RESERVE_PAGES, limit // RESERVE_SHARE):
            raise _ReserveTouched

    def _take_over(self, salvage: Salvage) -> None:
        """Piece by piece, shedding as ever: what was saved names its old numbers, so it may be done twice."""
        self.commit(Changes(journal=salvage.journal, facts=salvage.facts), 0)
        records = salvage.records()
        while some := list(islice(records, _SALVAGED_TOGETHER)):
            self.commit(Changes(records=some), 0)
        losses = [NewRecord(StreamKind.URGENT, RANK_DECLARATION, self._wrap(loss)) for loss in salvage.losses()]
        self.commit(Changes(records=losses, facts={TAKEN_OVER_FACT: "yes"}), 0)
        salvage.done()

    def _load_positions(self) -> dict[StreamKind, StreamPosition]:
        query = (
            "SELECT kind, id, last, acked, shed, "
            "(SELECT coalesce(min(seq), 0) FROM record WHERE record.stream = stream.kind) FROM stream"
        )
        return {
            StreamKind(kind): StreamPosition(stream, StreamKind(kind), last, oldest, acked, shed)
            for kind, stream, last, acked, shed, oldest in self._db.execute(query)
        }

    def _quota_pages(self) -> int:
        return int(self._db.execute("PRAGMA max_page_count").fetchone()[0])

    def _tighten(self) -> None:
        """The disk is full, not the quota: lets the ballast go and makes do with what the file has, in small steps."""
        ballast.let_go(self._ballast)
        self._is_tight = True
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        for pragma in (f"max_page_count = {pages}", f"wal_autocheckpoint = {TIGHT_PAGES}"):
            self._db.execute(f"PRAGMA {pragma}")
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            # The log stays as long as it is, and what is given up finds its place in it or nowhere.
            self._expect_full(error)

    def _relax(self) -> None:
        """There is room again: the ballast is whole."""
        self._is_tight = False
        for pragma in (
            f"max_page_count = {self._quota_bytes // PAGE_BYTES}",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        ):
            self._db.execute(f"PRAGMA {pragma}")

    def _is_at_quota(self) -> bool:
        return int(self._db.execute("PRAGMA page_count").fetchone()[0]) >= self._quota_pages() - 1

    def _used_pages(self) -> int:
        total = int(self._db.execute("PRAGMA page_count").fetchone()[0])
        return total - int(self._db.execute("PRAGMA freelist_count").fetchone()[0])

    def _expect_full(self, error: sqlite3.OperationalError) -> None:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise SpoolFailed(f"expected {self._path.name} to be written, came {error}") from error

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with self._transaction():
                yield
        except sqlite3.OperationalError as error:
            raise SpoolFailed(f"expected {self._path.name} to be written, came {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for kind, upto in self._acked.items():
                self._db.execute("UPDATE stream SET acked = ? WHERE kind = ?", (upto, kind.value))
            yield
        except BaseException:
            # After some errors SQLite has rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        self._acked.clear()


def _opened(path: Path, quota_bytes: int) -> sqlite3.Connection:
    with ExitStack() as undo:
        try:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            undo.callback(db.close)
            path.chmod(0o600)
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            # SQLite makes no error of this one, whatever the disk said: it keeps to the mode that it had.
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise SpoolFailed(f"expected {path.name} to take a write-ahead log, came journal mode {mode}")
            for pragma in (
                "synchronous = FULL",
                f"max_page_count = {quota_bytes // PAGE_BYTES}",
                "cache_size = -256",
                f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
                f"journal_size_limit = {CHECKPOINT_PAGES * PAGE_BYTES}",
                "temp_store = MEMORY",
            ):
                db.execute(f"PRAGMA {pragma}")
            db.executescript(SCHEMA)
            for kind in StreamKind:
                db.execute("INSERT OR IGNORE INTO stream (kind, id) VALUES (?, ?)", (kind.value, secrets.token_hex(16)))
                db.execute(_NAME_STREAM, (STREAM_FACT + kind, kind.value))
        except sqlite3.Error as error:
            raise SpoolFailed(f"expected a writable spool at {path.name}, came {error}") from error
        undo.pop_all()
        return db
