"""What is done about a damaged spool file: put it aside, save what can be read, say what is lost.

A new file has new stream ids, so a number is never used twice for two records. At most one damaged file is kept, for
whoever wants to look into it.
"""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from device_agent.core.records import NewRecord
from protocol.records import SpoolLost
from protocol.streams import StreamKind

_log = logging.getLogger(__name__)
_SIDE_FILES = ("-wal", "-shm")


@dataclass(slots=True)
class Salvaged:
    """``streams``: what is known of the old streams, as (id, last number)."""

    streams: list[tuple[str, int]] = field(default_factory=list)
    records: list[NewRecord] = field(default_factory=list)
    journal: list[tuple[str, bytes]] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)

    def losses(self) -> list[SpoolLost]:
        # Nothing readable at all is said as well, under an id that no stream has.
        return [SpoolLost(stream, last, len(self.records)) for stream, last in self.streams or [("0" * 32, 0)]]


def rescue(path: Path) -> Salvaged | None:
    """None when there is no file or it is sound; else what could be saved of it, the file itself being put aside."""
    if not path.exists() or _is_sound(path):
        return None
    _log.error("spool %s is damaged: putting it aside and starting another", path.name)
    aside = path.with_suffix(".damaged")
    for suffix in ("", *_SIDE_FILES):
        aside.with_name(aside.name + suffix).unlink(missing_ok=True)
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return _salvage(aside)


def _is_sound(path: Path) -> bool:
    try:
        with sqlite3.connect(path) as db:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        db.close()
    except sqlite3.DatabaseError:
        return False
    return bool(verdict == "ok")


def _salvage(path: Path) -> Salvaged:
    found = Salvaged()
    try:
        db = sqlite3.connect(path)
    except sqlite3.DatabaseError:
        return found
    acked: dict[str, int] = {}
    for kind, stream, last, upto in _rows(db, "SELECT kind, id, last, acked FROM stream"):
        found.streams.append((stream, last))
        acked[kind] = upto
    for kind in StreamKind:
        query = f"SELECT rank, payload FROM record WHERE stream = '{kind.value}' AND seq > {acked.get(kind.value, 0)}"  # noqa: S608 - both come from our own code
        found.records += [NewRecord(kind, rank, payload) for rank, payload in _rows(db, query)]
    found.journal += _rows(db, "SELECT execution, body FROM journal ORDER BY place")
    found.facts += _rows(db, "SELECT name, value FROM fact")
    db.close()
    return found


def _rows(db: sqlite3.Connection, query: str) -> list[tuple]:  # type: ignore[type-arg]  # columns differ by query
    """The rows up to the first damaged page."""
    rows = []
    try:
        for row in db.execute(query):
            rows.append(row)  # noqa: PERF402 - a damaged page raises in the middle; what came before counts
    except sqlite3.DatabaseError as error:
        _log.warning("salvaging stopped after %d rows: %s", len(rows), error)
    return rows
