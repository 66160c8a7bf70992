"""What the signer must not forget: its journal, what was used of each authorisation, and whether signing is stopped.

One SQLite file that one process holds. Whatever is signed is in it before the signature leaves; for changes it is on
disk as well. What was signed in the last hour is kept in memory too, read anew at a start, so that a restart gives
nobody a fresh cap.

Invariant: `admit` either writes the entry and counts it, or raises and leaves everything as it was.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from fleet_server.signer.errors import AuthorisationRefused, SignerFolderUnusable, SigningCapReached
from fleet_server.signer.messages import JournalEntry, JournalPage, StopNote
from protocol.commands import DangerClass

HOUR_MS = 3_600_000
# Reads are many and told to the audit at once; what changed something is kept here longer than the audit must keep it.
READS_KEPT_MS = 7 * 24 * HOUR_MS
CHANGES_KEPT_MS = 550 * 24 * HOUR_MS
_TRIM_EVERY = 5000
_TABLES = """
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, event TEXT NOT NULL, class INTEGER,
    device TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS journal_at ON journal (class, at_ms);
CREATE TABLE IF NOT EXISTS used (
    authorisation TEXT NOT NULL, execution TEXT NOT NULL, device TEXT NOT NULL, until_ms INTEGER NOT NULL,
    PRIMARY KEY (authorisation, execution)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_STOP = "stop/"
# No tenant has it for a name: theirs have at least one character.
_ALL = ""


@dataclass(frozen=True, slots=True)
class Cap:
    """Of any 60 minutes."""

    commands: int
    devices: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What one signature takes of the caps."""

    danger_class: DangerClass
    tenant: str
    device: str


@dataclass(frozen=True, slots=True)
class Use:
    """One command that an authorisation is used for. Sent again, an execution counts once."""

    authorisation: str
    execution: str
    device: str
    max_count: int
    max_per_device: int
    until_ms: int


@dataclass(slots=True)
class _Hour:
    """What was signed of one class in the last 60 minutes, for one tenant or for all."""

    signed: deque[tuple[int, str]] = field(default_factory=deque)
    devices: Counter[str] = field(default_factory=Counter)

    def forget_before(self, moment_ms: int) -> None:
        while self.signed and self.signed[0][0] <= moment_ms:
            _, device = self.signed.popleft()
            self.devices[device] -= 1
            if not self.devices[device]:
                del self.devices[device]

    def add(self, at_ms: int, device: str) -> None:
        self.signed.append((at_ms, device))
        self.devices[device] += 1

    def refuse_more(self, device: str, cap: Cap, named: str) -> None:
        """Raises ``SigningCapReached``."""
        if len(self.signed) >= cap.commands:
            raise SigningCapReached(f"{cap.commands} commands of {named} in the last hour")
        if device not in self.devices and len(self.devices) >= cap.devices:
            raise SigningCapReached(f"commands of {named} were signed for {cap.devices} devices in the last hour")


class SignerState:
    """``path`` None: in memory, for a signer that is not meant to outlive its test."""

    def __init__(self, path: Path | None, now_ms: int) -> None:
        self._lock = None if path is None else _lock_alone(path)
        try:
            self._database = sqlite3.connect(
                ":memory:" if path is None else path, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.executescript(_TABLES)
        except sqlite3.Error as error:
            raise SignerFolderUnusable(f"{path} cannot be opened: {error}") from error
        self._database.execute("INSERT OR IGNORE INTO fact VALUES ('journal', ?)", (secrets.token_hex(8),))
        self._journal: str = self._database.execute("SELECT value FROM fact WHERE name = 'journal'").fetchone()[0]
        # By class, and by tenant; those of all tenants together under ALL.
        self._hours: dict[tuple[int, str], _Hour] = {}
        rows = self._database.execute(
            "SELECT class, json_extract(data, '$.tenant'), at_ms, device FROM journal"
            " WHERE class IS NOT NULL AND at_ms > ? ORDER BY number",
            (now_ms - HOUR_MS,),
        )
        for danger_class, tenant, at_ms, device in rows:
            for whose in (_ALL, str(tenant)):
                self._hours.setdefault((danger_class, whose), _Hour()).add(at_ms, device)
        found = self._database.execute("SELECT value FROM fact WHERE name LIKE ?", (f"{_STOP}%",))
        notes = [msgspec.json.decode(row[0], type=StopNote) for row in found]
        self._stops = {note.tenant: note for note in notes}
        self._written = 0

    def close(self) -> None:
        self._database.close()
        if self._lock is not None:
            os.close(self._lock)

    def admit(
        self, spent: Spent, caps: tuple[Cap, Cap], now_ms: int, data: Mapping[str, Any], use: Use | None = None
    ) -> None:
        """``caps``: of all tenants together, and of this one; ``data`` names it as ``tenant``. Raises
        ``SigningCapReached`` or, when ``use`` is one too many, ``AuthorisationRefused``.
        """
        danger_class, hours = spent.danger_class, self._hours_of(spent, now_ms)
        named = (f"class {int(danger_class)} of all tenants", f"class {int(danger_class)} of this tenant")
        for hour, cap, words in zip(hours, caps, named, strict=True):
            hour.refuse_more(spent.device, cap, words)
        # A read needs to outlive this process, a change also a power cut.
        self._database.execute(f"PRAGMA synchronous = {'NORMAL' if danger_class is DangerClass.READS else 'FULL'}")
        self._database.execute("BEGIN IMMEDIATE")
        try:
            if use is not None:
                self._count(use)
            self._append("signed", spent.device, data, now_ms, int(danger_class))
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        for whose, hour in zip((_ALL, spent.tenant), hours, strict=True):
            hour.add(now_ms, spent.device)
            self._hours[int(danger_class), whose] = hour

    def _hours_of(self, spent: Spent, now_ms: int) -> tuple[_Hour, _Hour]:
        """Of all tenants, and of this one: kept only once something was signed, whatever names are asked with."""
        of_all, of_tenant = (
            self._hours.get((int(spent.danger_class), whose), _Hour()) for whose in (_ALL, spent.tenant)
        )
        for hour in (of_all, of_tenant):
            hour.forget_before(now_ms - HOUR_MS)
        return of_all, of_tenant

    def note(self, event: str, data: Mapping[str, Any], now_ms: int, facts: Mapping[str, str | None]) -> None:
        """Something that is no signature, with the ``facts`` it changes (None: forgotten); on disk from here on."""
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("BEGIN IMMEDIATE")
        try:
            for name, value in facts.items():
                if value is None:
                    self._database.execute("DELETE FROM fact WHERE name = ?", (name,))
                else:
                    self._database.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))
            self._append(event, "", data, now_ms, None)
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def fact(self, name: str) -> str | None:
        row = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def stop(self, tenant: str) -> StopNote | None:
        """The last one, whether it holds or was lifted."""
        return self._stops.get(tenant)

    def stops(self) -> list[StopNote]:
        return list(self._stops.values())

    def set_stops(self, notes: Sequence[StopNote], event: str, data: Mapping[str, Any], now_ms: int) -> None:
        """Each in the place of its tenant's; ``event`` and ``data``: what the journal says of it."""
        facts = {f"{_STOP}{note.tenant}": msgspec.json.encode(note).decode() for note in notes}
        self.note(event, data, now_ms, facts)
        self._stops.update({note.tenant: note for note in notes})

    def used(self, now_ms: int) -> dict[str, int]:
        """Commands of the last hour by class."""
        for key, hour in list(self._hours.items()):
            hour.forget_before(now_ms - HOUR_MS)
            if not hour.signed:
                del self._hours[key]
        return {
            str(danger_class): len(one.signed) for (danger_class, whose), one in self._hours.items() if whose == _ALL
        }

    def journal(self, after: int, limit: int) -> JournalPage:
        """In order of their numbers."""
        rows = self._database.execute(
            "SELECT number, at_ms, event, device, data FROM journal WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        entries = [JournalEntry(row[0], row[1], row[2], row[3], msgspec.json.decode(row[4])) for row in rows]
        return JournalPage(self._journal, entries)

    def _count(self, use: Use) -> None:
        known, same, on_device = self._database.execute(
            "SELECT count(*), total(execution = ?), total(device = ?) FROM used WHERE authorisation = ?",
            (use.execution, use.device, use.authorisation),
        ).fetchone()
        if same:
            return
        if known >= use.max_count:
            raise AuthorisationRefused(f"the authorisation was for {use.max_count} and is used up")
        if on_device >= use.max_per_device:
            raise AuthorisationRefused(f"the authorisation was for {use.max_per_device} on each device and is used up")
        self._database.execute(
            "INSERT INTO used VALUES (?, ?, ?, ?)", (use.authorisation, use.execution, use.device, use.until_ms)
        )

    def _append(self, event: str, device: str, data: Mapping[str, Any], now_ms: int, danger_class: int | None) -> None:
        self._database.execute(
            "INSERT INTO journal (at_ms, event, class, device, data) VALUES (?, ?, ?, ?, ?)",
            (now_ms, event, danger_class, device, msgspec.json.encode(data).decode()),
        )
        self._written += 1
        if self._written % _TRIM_EVERY == 1:
            self._trim(now_ms)

    def _trim(self, now_ms: int) -> None:
        self._database.execute("DELETE FROM journal WHERE class = 0 AND at_ms < ?", (now_ms - READS_KEPT_MS,))
        self._database.execute("DELETE FROM journal WHERE class > 0 AND at_ms < ?", (now_ms - CHANGES_KEPT_MS,))
        # What is over is refused by its time.
        self._database.execute("DELETE FROM used WHERE until_ms < ?", (now_ms - HOUR_MS,))


def _lock_alone(path: Path) -> int:
    """Two signers on one file would each count on its own."""
    try:
        handle = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SignerFolderUnusable(f"another signer is at work in {path.parent}") from error
    except OSError as error:
        raise SignerFolderUnusable(f"{path.parent} cannot be used: {error.strerror}") from error
    return handle
