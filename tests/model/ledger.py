"""What the server's database holds, read from its tables of records and never from its watermarks.

Invariant: no mark is in it twice, neither as a record nor as an event of the timeline.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from pathlib import Path

import msgspec

from fleet_server.health.blocks import unpack
from protocol.records import RecordBody, SpoolLost, Tombstone
from tests.model.marks import CODE_PREFIX, Mark, mark_of, mark_of_columns

_bodies: msgspec.json.Decoder[RecordBody] = msgspec.json.Decoder(RecordBody)
_KINDS = ("fault_raised", "fault_cleared")


class Ledger:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.marks: Counter[Mark] = Counter()
        self.tombstones: list[tuple[str, Tombstone]] = []
        self.losses: list[tuple[str, SpoolLost]] = []
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
            mark = mark_of_columns(device, unpack(columns))
            if mark is not None:
                self.marks[mark] += 1
        for link, grave in self.tombstones:
            self._numbers[link, grave.stream] |= set(range(grave.first_seq, grave.last_seq + 1))

    def contiguous(self, link: str, stream: str) -> int:
        """How far records and declared losses go without a hole, as committed now."""
        self.read()
        numbers, upto = self._numbers[link, stream], 0
        while upto + 1 in numbers:
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
