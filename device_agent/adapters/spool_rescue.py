"""What is done about a damaged spool file: put it aside, save what can be read, say what is lost.

A new file has new stream ids, so a number is never used twice for two records. What is saved names the number that it
had, for the server may have it under that. The file is `spool.salvage` until all of it is taken over, so that whoever
dies in between begins again, and `spool.damaged` after that; at most one is kept, for whoever wants to look into it.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from device_agent.core.records import NewRecord
from protocol import codec
from protocol.records import FirstKey, Record, SpoolLost
from protocol.streams import StreamKind

_log = logging.getLogger(__name__)
_SIDE_FILES = ("-wal", "-shm")
# Facts of this name hold the streams' ids once more, on another page than the streams' own table.
STREAM_FACT: Final = "stream/"
# Set with the last of what was saved: the old file is not needed any more.
TAKEN_OVER_FACT: Final = "taken_over"
_KINDS: Final = {kind.value: kind for kind in StreamKind}
# Of sequence numbers and ranks, as on the wire.
_LARGEST: Final = 2**53
_OWN_FACTS: Final = {STREAM_FACT + kind: kind for kind in StreamKind}


@dataclass(slots=True)
class OldStream:
    """``id`` is empty when no page told it."""

    id: str = ""
    last: int = 0
    acked: int = 0


@dataclass(slots=True)
class Salvage:
    """The file that was put aside, and what of it could be read at once; `records` reads the rest."""

    path: Path
    streams: dict[StreamKind, OldStream]
    journal: dict[str, bytes | None] = field(default_factory=dict)
    facts: dict[str, str | None] = field(default_factory=dict)
    saved: Counter[StreamKind] = field(default_factory=Counter)

    def records(self) -> Iterator[NewRecord]:
        """What was not acknowledged, up to the first damaged page of each stream."""
        with closing(sqlite3.connect(self.path)) as db:
            for kind, old in self.streams.items():
                query = "SELECT seq, rank, payload FROM record WHERE stream = ? AND seq > ? ORDER BY seq"
                for seq, rank, payload in _rows(db, query, (int, int, bytes), (kind.value, old.acked)):
                    self.saved[kind] += 1
                    old.last = max(old.last, seq)
                    yield NewRecord(kind, rank, _with_first_key(payload, old.id, seq))

    def losses(self) -> list[SpoolLost]:
        """After `records`. Nothing readable at all is said as well, under an id that no stream has."""
        known = [(old, self.saved[kind]) for kind, old in self.streams.items() if old.id]
        if len(known) < len(self.streams):
            known.append((OldStream("0" * 32), self.saved.total() - sum(saved for _, saved in known)))
        return [SpoolLost(old.id, old.last, saved) for old, saved in known]

    def done(self) -> None:
        """All of it is safe in the new file."""
        _rename(self.path, self.path.with_suffix(".damaged"))


def rescue(path: Path) -> Salvage | None:
    """None when there is no file or it is sound; else what could be saved of it, the file itself being put aside."""
    aside = path.with_suffix(".salvage")
    if aside.exists():
        if _is_taken_over(path):
            _rename(aside, aside.with_suffix(".damaged"))
            return rescue(path)
        # Somebody died while taking it over: what the new file has so far is in the old one as well.
        _remove(path)
        return _read(aside)
    if not path.exists() or _is_sound(path):
        return None
    _log.error("spool %s is damaged: putting it aside and starting another", path.name)
    _rename(path, aside)
    return _read(aside)


def _is_taken_over(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path)) as db:
            return db.execute("SELECT 1 FROM fact WHERE name = ?", (TAKEN_OVER_FACT,)).fetchone() is not None
    except sqlite3.DatabaseError:
        return False


def _rename(path: Path, to: Path) -> None:
    _remove(to)
    for suffix in ("", *_SIDE_FILES):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(to.with_name(to.name + suffix))


def _remove(path: Path) -> None:
    for suffix in ("", *_SIDE_FILES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as db:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError:
        return False
    return bool(verdict == "ok")


def _read(path: Path) -> Salvage:
    db = sqlite3.connect(path)
    found = Salvage(path, {kind: OldStream() for kind in StreamKind})
    for name, value in _rows(db, "SELECT name, value FROM fact", (str, str)):
        if name in _OWN_FACTS:
            found.streams[_OWN_FACTS[name]].id = value
        elif name != TAKEN_OVER_FACT:
            found.facts[name] = value
    for kind, stream, last, acked in _rows(db, "SELECT kind, id, last, acked FROM stream", (str, str, int, int)):
        if kind in _KINDS:
            found.streams[_KINDS[kind]] = OldStream(stream, last, acked)
    found.journal.update(_rows(db, "SELECT execution, body FROM journal ORDER BY place", (str, bytes)))
    db.close()
    return found


def _rows(
    db: sqlite3.Connection, query: str, kinds: tuple[type, ...], given: tuple[str | int, ...] = ()
) -> Iterator[tuple]:  # type: ignore[type-arg]  # columns differ by query
    """The rows up to the first damaged page. One may also still be read, as something that we never wrote."""
    read = 0
    try:
        for row in db.execute(query, given):
            read += 1
            if all(_is_ours(value, kind) for value, kind in zip(row, kinds, strict=True)):
                yield row
    except sqlite3.DatabaseError as error:
        _log.warning("salvaging stopped after %d rows: %s", read, error)


def _is_ours(value: object, kind: type) -> bool:
    return type(value) is kind and (not isinstance(value, int) or 0 <= value <= _LARGEST)


def _with_first_key(payload: bytes, stream: str, seq: int) -> bytes:
    record = codec.from_json(payload, Record)
    if not isinstance(record, Record) or record.was is not None or not stream:
        return payload
    return codec.to_json(msgspec.structs.replace(record, was=FirstKey(stream, seq)))
