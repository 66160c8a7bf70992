"""What the server's database holds, read from its tables of records and never from its watermarks.

Invariant: no mark is in it twice, neither as a record nor as an event of the timeline.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fleet_server.ingest.gaps import SPOOL_LOST
from protocol.records import RecordBody, SpoolLost, Tombstone
from tests.model.marks import CODE_PREFIX, Mark, mark_of, mark_of_columns
from tests.support.health_blocks import samples

_bodies: msgspec.json.Decoder[RecordBody] = msgspec.json.Decoder(RecordBody)
_DECLARED = (
    "SELECT device_id, json_extract(data, '$.stream'), json_extract(data, '$.first'), json_extract(data, '$.last') "
    "FROM event WHERE type = 'gap' AND json_extract(data, '$.state') = 'declared' "
    "AND json_extract(data, '$.reason') <> ?"
)
Place = tuple[str, int]
_KINDS = ("fault_raised", "fault_cleared")


class Ledger:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.marks: Counter[Mark] = Counter()
        self.tombstones: list[tuple[str, Tombstone]] = []
        self.losses: list[tuple[str, SpoolLost]] = []
        # Ranges of a link's stream that the timeline calls given up.
        self.declared: list[tuple[str, str, int, int]] = []
        self._numbers: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self._db = sqlite3.connect(path)

    def reopen(self) -> None:
        self._db.close()
        self._db = sqlite3.connect(self._path)
        self.read()

    def close(self) -> None:
        self._db.close()

    def read(self) -> None:
        self.marks.clear()
        self.tombstones.clear()
        self.losses.clear()
        self.declared = self._db.execute(_DECLARED, (SPOOL_LOST,)).fetchall()
        self._numbers.clear()
        for link, stream, seq, device, body in self._db.execute(
            "SELECT link_id, stream, seq, device_id, body FROM record"
        ):
            self._numbers[link, stream].add(seq)
            self._take(link, device, _bodies.decode(body))
        for link, stream, seq, device, columns in self._db.execute(
            "SELECT link_id, stream, seq, device_id, columns FROM health_block"
        ):
            self._numbers[link, stream].add(seq)
            mark = mark_of_columns(device, samples(columns))
            if mark is not None:
                self.marks[mark] += 1
        for link, grave in self.tombstones:
            self._numbers[link, grave.stream] |= set(range(grave.first_seq, grave.last_seq + 1))
        for link, stream, first, last in self.declared:
            self._numbers[link, stream] |= set(range(first, last + 1))

    def contiguous(self, link: str, stream: str, first_keys: Mapping[Place, Place]) -> int:
        """How far records and declared losses go without a hole, as committed now. A record that was saved from a
        damaged spool is there under whichever of its numbers came first.
        """
        self.read()
        numbers, upto = self._numbers[link, stream], 0
        there = {(of, seq) for (_, of), seqs in self._numbers.items() for seq in seqs}
        there |= {first for place, first in first_keys.items() if place in there}
        while upto + 1 in numbers or first_keys.get((stream, upto + 1), (stream, upto + 1)) in there:
            upto += 1
        return upto

    def dead_letters(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM dead_letter").fetchone()[0])

    def told(self) -> Counter[tuple[str, str]]:
        """How often the timeline tells each event of the model."""
        query = "SELECT type, json_extract(data, '$.code') FROM event WHERE type IN (?, ?)"
        rows = self._db.execute(query, _KINDS)
        return Counter((type_, code) for type_, code in rows if code.startswith(CODE_PREFIX))

    def _take(self, link: str, device: str, body: RecordBody) -> None:
        match body:
            case Tombstone():
                self.tombstones.append((link, body))
            case SpoolLost():
                self.losses.append((link, body))
            case _:
                mark = mark_of(device, body)
                if mark is not None:
                    self.marks[mark] += 1
