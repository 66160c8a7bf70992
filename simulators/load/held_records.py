"""A link's spool without a disk: what is not acknowledged is held in memory, and nothing longer.

A `device_agent.core.ports.Store` for links that are many and end with the process. Invariant: numbers ascend without
holes, and what is held is exactly what lies above the last acknowledgement. A server that was set back finds the rest
gone (``forgotten`` counts it), as it would after the retention window of a real spool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from device_agent.core.ports import Fill
from device_agent.core.records import Changes
from protocol.session import StreamPosition
from protocol.streams import StreamKind

# Of a real spool; nothing here is held back by it.
_QUOTA_BYTES = 32 * 2**20


class _Held:
    __slots__ = ("acked", "first", "id", "rows")

    def __init__(self, stream: str) -> None:
        self.id = stream
        self.acked = 0
        self.first = 1
        self.rows: deque[bytes] = deque()

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


class HeldRecords:
    """Its bound is its owner's: who makes records asks ``backlog`` before."""

    __slots__ = ("_facts", "_streams", "_told", "forgotten")

    def __init__(self, urgent: str, bulk: str) -> None:
        self._streams = {StreamKind.URGENT: _Held(urgent), StreamKind.BULK: _Held(bulk)}
        self._facts: dict[str, str] = {}
        self._told: dict[StreamKind, StreamPosition] | None = None
        self.forgotten = 0

    def add(self, kind: StreamKind, rows: Sequence[bytes]) -> int:
        """The number of the last of them."""
        held = self._streams[kind]
        held.rows.extend(rows)
        self._told = None
        return held.last

    def backlog(self, kind: StreamKind) -> int:
        return len(self._streams[kind].rows)

    def last(self, kind: StreamKind) -> int:
        return self._streams[kind].last

    def positions(self) -> dict[StreamKind, StreamPosition]:
        if self._told is None:
            self._told = {
                kind: StreamPosition(held.id, kind, held.last, held.first if held.rows else 0, held.acked)
                for kind, held in self._streams.items()
            }
        return self._told

    def commit(self, changes: Changes, at_ms: int) -> bool:  # noqa: ARG002 - nothing here is dated
        for record in changes.records:
            self.add(record.stream, [record.payload])
        for name, value in changes.facts.items():
            if value is None:
                self._facts.pop(name, None)
            else:
                self._facts[name] = value
        return False

    def read(
        self, kind: StreamKind, first_seq: int, *, max_records: int, max_bytes: int
    ) -> Sequence[tuple[int, bytes]]:
        held = self._streams[kind]
        start = max(first_seq, held.first)
        run: list[tuple[int, bytes]] = []
        size = 0
        for seq, payload in enumerate(islice(held.rows, start - held.first, start - held.first + max_records), start):
            size += len(payload) + 1
            if run and size > max_bytes:
                break
            run.append((seq, payload))
        return run

    def acknowledge(self, kind: StreamKind, upto: int) -> None:
        held = self._streams[kind]
        self.forgotten += max(held.acked - upto, 0)
        held.acked = upto
        for _ in range(min(upto - held.first + 1, len(held.rows))):
            held.rows.popleft()
            held.first += 1
        self._told = None

    def renew_stream(self, kind: StreamKind, new_id: str) -> int:
        held = self._streams[kind]
        held.id, held.first, held.acked = new_id, 1, 0
        self._told = None
        return len(held.rows)

    def fill(self) -> Fill:
        used_bytes = sum(len(row) for held in self._streams.values() for row in held.rows)
        return Fill(used_bytes, _QUOTA_BYTES, None)

    def fact(self, name: str) -> str | None:
        return self._facts.get(name)

    def facts(self, prefix: str) -> dict[str, str]:
        return {name: value for name, value in self._facts.items() if name.startswith(prefix)}

    def journal(self) -> dict[str, bytes]:
        return {}
