"""The issuer's own book: which name belongs to which key, which certificates were made, which names are over.

Invariant: a name is entered once and stays for ever; one that was retired never gets another certificate but those of
minutes that take its session over. Every change is on disk before the certificate leaves the process.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fleet_server.enrollment.authority import Certified

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (
    name TEXT PRIMARY KEY, key BLOB, former BLOB, pem BLOB, serial TEXT, not_after REAL,
    retired_at REAL, reason TEXT) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS one_name_a_key ON identity (key);
CREATE TABLE IF NOT EXISTS certificate (
    serial TEXT PRIMARY KEY, name TEXT NOT NULL, not_after REAL NOT NULL, revoked INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS of_name ON certificate (name);
CREATE TABLE IF NOT EXISTS deed (at REAL NOT NULL, what TEXT NOT NULL, name TEXT NOT NULL, word TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS deed_at ON deed (what, at);
"""


@dataclass(frozen=True, slots=True)
class Known:
    """``key``: of its present certificate, as a compressed point; empty: retired before it had one."""

    name: str
    key: bytes
    former: bytes
    certified: Certified | None
    is_retired: bool


class Ledger:
    def __init__(self, path: Path) -> None:
        # Private from its first byte, whatever the umask.
        path.touch(0o600)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def find(self, name: str) -> Known | None:
        row = self._db.execute(
            "SELECT key, former, pem, serial, not_after, retired_at FROM identity WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            return None
        key, former, pem, serial, not_after, retired_at = row
        certified = None if pem is None else Certified(pem, serial, datetime.fromtimestamp(not_after).astimezone())
        return Known(name, key or b"", former or b"", certified, retired_at is not None)

    def name_of_key(self, key: bytes) -> str | None:
        row = self._db.execute("SELECT name FROM identity WHERE key = ? OR former = ?", (key, key)).fetchone()
        return None if row is None else str(row[0])

    def enter(self, name: str, key: bytes, made: Certified) -> None:
        """A new name, or a new key for one that is there."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT INTO identity (name, key, pem, serial, not_after) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET former = identity.key, key = excluded.key, pem = excluded.pem,"
                " serial = excluded.serial, not_after = excluded.not_after",
                (name, key, made.certificate_pem, made.serial, made.not_after.timestamp()),
            )
            self._note(name, made)

    def note(self, name: str, made: Certified) -> None:
        """A certificate that changes nobody's key."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._note(name, made)

    def retire(self, name: str, reason: str, foreign: dict[str, datetime], now: datetime) -> list[str]:
        """All its serial numbers. ``foreign``: those that were made for it before there was a ledger."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT INTO identity (name, retired_at, reason) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET retired_at = coalesce(identity.retired_at, excluded.retired_at)",
                (name, now.timestamp(), reason),
            )
            for serial, not_after in foreign.items():
                self._db.execute(
                    "INSERT INTO certificate VALUES (?, ?, ?, 1) ON CONFLICT (serial) DO NOTHING",
                    (serial, name, not_after.timestamp()),
                )
            self._db.execute("UPDATE certificate SET revoked = 1 WHERE name = ?", (name,))
            rows = self._db.execute("SELECT serial FROM certificate WHERE name = ?", (name,)).fetchall()
        return [str(row[0]) for row in rows]

    def revoked(self, now: datetime) -> set[int]:
        """Those that have not ended by themselves."""
        rows = self._db.execute(
            "SELECT serial FROM certificate WHERE revoked = 1 AND not_after > ?", (now.timestamp(),)
        )
        return {int(row[0], 16) for row in rows}

    def count(self, what: str, since: datetime) -> int:
        row = self._db.execute("SELECT count(*) FROM deed WHERE what = ? AND at > ?", (what, since.timestamp()))
        return int(row.fetchone()[0])

    def write_down(self, what: str, name: str, word: str, now: datetime) -> None:
        self._db.execute("INSERT INTO deed VALUES (?, ?, ?, ?)", (now.timestamp(), what, name, word[:200]))

    def forget(self, now: datetime) -> None:
        """Certificates that ended long ago; names stay."""
        before = (now - timedelta(days=400)).timestamp()
        self._db.execute("DELETE FROM certificate WHERE not_after < ?", (before,))

    def _note(self, name: str, made: Certified) -> None:
        self._db.execute("INSERT INTO certificate VALUES (?, ?, ?, 0)", (made.serial, name, made.not_after.timestamp()))
