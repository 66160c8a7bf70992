"""What the spool promised its user up to some moment, and what of it a folder does not keep.

A promise is what was noted among the disk's steps: the streams' ids after opening, each record's number after `commit`
returned, and how far the server had acknowledged before the spool heard of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Final

from device_agent.adapters.spool import RETENTION_MS, Spool
from device_agent.core.records import RANK_DECLARATION, RANK_HEALTH, RANK_RESULT, Changes, NewRecord
from device_agent.core.shedding import tombstone_in
from protocol import codec
from protocol.records import Record, RecordBody
from protocol.streams import StreamKind
from tests.faults.disk import Image

SPOOL: Final = "spool.db"
_RANKS: Final = {StreamKind.URGENT: RANK_RESULT, StreamKind.BULK: RANK_HEALTH}
_ACKNOWLEDGED_EVERY: Final = 20
_PAYLOAD_BYTES: Final = 300
# Kept for its size alone.
_NO_CONTENT: Final = {".ballast", ".part"}
Note = Callable[[str], None]


@dataclass(slots=True)
class Promised:
    streams: dict[StreamKind, str] = field(default_factory=dict)
    acked: dict[StreamKind, int] = field(default_factory=dict)
    # Given up, and the tombstone acknowledged: it may be gone by now.
    declared: dict[StreamKind, set[int]] = field(default_factory=dict)
    # By stream and sequence number: which record it is.
    records: dict[tuple[StreamKind, int], int] = field(default_factory=dict)

    @classmethod
    def by(cls, notes: Iterable[str]) -> Promised:
        promised = cls()
        for note in notes:
            word, kind_name, value, *more = note.split()
            kind = StreamKind(kind_name)
            match word:
                case "opened":
                    # Later openings must find the same.
                    promised.streams.setdefault(kind, value)
                case "acknowledged":
                    promised.acked[kind] = int(value)
                case "declared":
                    promised.declared.setdefault(kind, set()).add(int(value))
                case "committed":
                    promised.records[kind, int(value)] = int(more[0])
                case _:
                    raise ValueError(f"expected opened, acknowledged, declared or committed, came {word}")
        return promised


def opened(folder: Path) -> Spool:
    return Spool(folder / SPOOL, _wrap)


def fill(spool: Spool, note: Note, count: int) -> None:
    """A record a commit, now and then with samples, with acknowledgements and what is done in quiet moments."""
    for kind, position in spool.positions().items():
        note(f"opened {kind.value} {position.stream}")
    first = int(spool.fact("number") or 0) + 1
    # As the agent does in its first turn.
    spool.tidy(RETENTION_MS)
    for number in range(first, first + count):
        kinds = [StreamKind.BULK, StreamKind.URGENT] if number % 4 == 0 else [StreamKind.URGENT]
        records = [NewRecord(kind, _RANKS[kind], _payload(number)) for kind in kinds]
        changes = Changes(records=records, journal={f"e{number}": b"row"}, facts={"number": str(number)})
        spool.commit(changes, number)
        for kind in kinds:
            note(f"committed {kind.value} {spool.positions()[kind].last} {number}")
        if number % _ACKNOWLEDGED_EVERY == 0:
            upto = spool.positions()[StreamKind.URGENT].last - _ACKNOWLEDGED_EVERY // 2
            _acknowledge(spool, note, upto)
            spool.tidy(RETENTION_MS + number)


def _acknowledge(spool: Spool, note: Note, upto: int) -> None:
    for kind, position in spool.positions().items():
        for seq in sorted(_declared(spool, position.stream, upto)):
            note(f"declared {kind.value} {seq}")
    note(f"acknowledged urgent {upto}")
    spool.acknowledge(StreamKind.URGENT, upto)


def broken_promises(folder: Path, promised: Promised) -> list[str]:
    """What the spool in ``folder`` does not keep, a sentence each; opens it, and goes on in it by one record."""
    with closing(opened(folder)) as spool:
        return list(_broken(spool, promised))


def after_start(image: Image, promised: Promised, folder: Path) -> list[str]:
    """The same of what a power cut left, written into a new folder in ``folder``."""
    place = folder / "after"
    place.mkdir()
    for name, content in image.items():
        path = place / name
        if path.suffix in _NO_CONTENT:
            path.touch()
            os.truncate(path, len(content))
        else:
            path.write_bytes(content)
    try:
        return broken_promises(place, promised)
    finally:
        rmtree(place)


def _broken(spool: Spool, promised: Promised) -> Iterator[str]:
    if spool.salvaged is not None:
        yield "the file was damaged"
    for kind, position in spool.positions().items():
        if promised.streams.get(kind, position.stream) != position.stream:
            yield f"{kind.value} has another id"
        yield from _broken_stream(spool, kind, promised)
    yield from _broken_bonds(spool)
    yield from _broken_numbering(spool)


def _broken_stream(spool: Spool, kind: StreamKind, promised: Promised) -> Iterator[str]:
    position = spool.positions()[kind]
    acked = promised.acked.get(kind, 0)
    held = _held(spool, kind)
    declared = _declared(spool, position.stream) | promised.declared.get(kind, set())
    if position.acked > acked:
        yield f"{kind.value} takes {position.acked} for acknowledged, the server said {acked}"
    if missing := set(range(position.acked + 1, position.last + 1)) - held.keys() - declared:
        yield f"{kind.value} has undeclared holes: {sorted(missing)[:5]}"
    for (its_kind, seq), number in promised.records.items():
        if its_kind is not kind or seq <= acked:
            continue
        if seq not in held and seq not in declared:
            yield f"{kind.value} {seq} is lost"
        if held.get(seq, _payload(number)) != _payload(number):
            yield f"{kind.value} {seq} is another record"


def _broken_bonds(spool: Spool) -> Iterator[str]:
    """The fact, the journal row and the record of a commit are there together or not at all."""
    number = spool.fact("number")
    rows = spool.journal()
    if list(rows) != [f"e{one + 1}" for one in range(int(number or 0))]:
        yield f"the journal has {len(rows)} rows, the last commit was {number}"


def _broken_numbering(spool: Spool) -> Iterator[str]:
    last = spool.positions()[StreamKind.URGENT].last
    spool.commit(Changes(records=[NewRecord(StreamKind.URGENT, RANK_RESULT, b"next")]), 1)
    if spool.positions()[StreamKind.URGENT].last != last + 1:
        yield f"the number after {last} is {spool.positions()[StreamKind.URGENT].last}"


def _held(spool: Spool, kind: StreamKind) -> dict[int, bytes]:
    return dict(spool._db.execute("SELECT seq, payload FROM record WHERE stream = ?", (kind.value,)))


def _declared(spool: Spool, stream: str, upto: int = 2**53) -> set[int]:
    """What the tombstones up to number ``upto`` say of ``stream``."""
    rows = spool._db.execute("SELECT payload FROM record WHERE rank = ? AND seq <= ?", (RANK_DECLARATION, upto))
    graves = [tombstone_in(payload) for (payload,) in rows]
    return {
        seq
        for grave in graves
        if grave is not None and grave.stream == stream
        for seq in range(grave.first_seq, grave.last_seq + 1)
    }


def _payload(number: int) -> bytes:
    return f"record {number} ".encode().ljust(_PAYLOAD_BYTES, b".")


def _wrap(body: RecordBody) -> bytes:
    return codec.to_json(Record("d-terminal0000001", "b" * 32, 1, 1, body))
