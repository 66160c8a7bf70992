"""What is given up when there is no room: lowest rank first, oldest first, and every loss declared.

A tombstone declares a run of sequence numbers without holes, so that the server's watermark may pass it; a range that
also covered records still held would make the server acknowledge what it never got. Choosing and deleting rows is the
store's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from device_agent.core.records import RANK_HEALTH, RANK_RESULT
from protocol.records import Tombstone
from protocol.streams import StreamKind

# Given up at a time. Large against the one tombstone that a run costs.
SHED_RECORDS: Final = 256
# The whole bulk stream is of a lower rank than anything urgent; declarations (`RANK_DECLARATION`) are never given up.
SHED_ORDER: Final = (StreamKind.BULK, StreamKind.URGENT)
RANKS: Final = {StreamKind.BULK: RANK_HEALTH, StreamKind.URGENT: RANK_RESULT}


@dataclass(frozen=True, slots=True)
class Run:
    """Sequence numbers ``first`` to ``last`` of one stream, without holes."""

    kind: StreamKind
    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1


def runs(kind: StreamKind, seqs: Sequence[int]) -> list[Run]:
    """Rising ``seqs`` as runs without holes; each number belongs to exactly one."""
    found: list[Run] = []
    for seq in seqs:
        if found and found[-1].last + 1 == seq:
            found[-1] = Run(kind, found[-1].first, seq)
        else:
            found.append(Run(kind, seq, seq))
    return found


def tombstone(run: Run, stream: str) -> Tombstone:
    return Tombstone(stream, run.first, run.last, RANKS[run.kind], run.count, "no room in the spool")
