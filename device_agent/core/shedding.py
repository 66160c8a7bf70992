"""What is given up when there is no room: lowest rank first, oldest first, and every loss declared.

A tombstone declares a run of sequence numbers without holes, so that the server's watermark may pass it; a range that
also covered records still held would make the server acknowledge what it never got. What is given up together is
declared together: tombstones among it go as well, and what they said is said again by one that reaches further, so that
declarations never fill the room that they are to make. Choosing and deleting rows is the store's part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from device_agent.core.records import RANK_HEALTH, RANK_RESULT
from protocol import codec
from protocol.records import Record, Tombstone
from protocol.streams import StreamKind

# Given up at a time: at most, and this part of what the stream holds. Large against the one tombstone that it costs.
SHED_RECORDS: Final = 256
SHED_SHARE: Final = 8
# The whole bulk stream is of a lower rank than anything urgent; declarations (`RANK_DECLARATION`) are never given up.
SHED_ORDER: Final = (StreamKind.BULK, StreamKind.URGENT)
RANKS: Final = {StreamKind.BULK: RANK_HEALTH, StreamKind.URGENT: RANK_RESULT}
REASON: Final = "no room in the spool"


@dataclass(frozen=True, slots=True)
class Run:
    """Sequence numbers ``first`` to ``last`` of one stream, without holes."""

    kind: StreamKind
    first: int
    last: int

    def holds(self, seq: int) -> bool:
        return self.first <= seq <= self.last


def runs(kind: StreamKind, seqs: Sequence[int]) -> list[Run]:
    """Rising ``seqs`` as runs without holes; each number belongs to exactly one."""
    found: list[Run] = []
    for seq in seqs:
        if found and found[-1].last + 1 == seq:
            found[-1] = Run(kind, found[-1].first, seq)
        else:
            found.append(Run(kind, seq, seq))
    return found


def tombstone(run: Run, stream: str, records: int) -> Tombstone:
    """``records``: how many of the run's numbers were no tombstones themselves."""
    return Tombstone(stream, run.first, run.last, RANKS[run.kind], records, REASON)


def tombstone_in(payload: bytes) -> Tombstone | None:
    record = codec.from_json(payload, Record)
    return record.body if isinstance(record, Record) and isinstance(record.body, Tombstone) else None


def joined(graves: Iterable[Tombstone]) -> list[Tombstone]:
    """The same numbers declared by as few tombstones as can be."""
    found: list[Tombstone] = []
    for grave in sorted(graves, key=lambda one: (one.stream, one.first_seq)):
        before = found[-1] if found else None
        if before is not None and before.stream == grave.stream and grave.first_seq <= before.last_seq + 1:
            last_seq, count = max(before.last_seq, grave.last_seq), before.count + grave.count
            found[-1] = msgspec.structs.replace(before, last_seq=last_seq, count=count)
        else:
            found.append(grave)
    return found
