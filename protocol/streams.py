"""The rules of not losing a record: streams, batches, acknowledgements, gaps.

Key of a record: (link, stream, seq). A link has two streams, each with 128 random bits of its own made with the spool
file and its own ``seq`` from 1 without holes. Only the server's ``Ack``, sent after its database commit, lets the agent
forget; ``upto`` never passes the contiguous prefix that is committed.

Invariant of `Received`: ``upto`` is the largest n such that 1..n were all added; ranges beyond are disjoint and sorted.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.identifiers import MAX_SEQ, WireHex128, WireMillis, WireSeq

MAX_BATCH_RECORDS = 100
MAX_BATCH_BYTES = 64 * 1024
WINDOW_BATCHES = 4
RESEND_FIRST_S = 15.0
RESEND_CAP_S = 300.0
RESEND_JITTER = 0.25
MAX_MISSING_RANGES = 32
MAX_ACK_STREAMS = 4


class StreamKind(StrEnum):
    URGENT = "urgent"
    BULK = "bulk"


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Records ``first_seq``, ``first_seq + 1``, … of one stream; raw, so that one bad record does not take the rest.

    ``mono_offset_ms``: the server's time minus the link's monotonic time, milliseconds, as the server's own signed
    times tell it; said where the welcome came late, so that the wait of a hello is not taken for the clock's. Absent:
    as the hello said.
    """

    stream: WireHex128
    first_seq: WireSeq
    records: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH_RECORDS)]
    mono_offset_ms: WireMillis | None = None


class SeqRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, order=True):
    """Both ends belong to it."""

    first: WireSeq
    last: WireSeq


class StreamAck(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``missing`` is in order. What lies before its last range and is not named is committed; when all gaps are named,
    the first number that was never seen ends the list, so that this holds for everything that was.
    """

    stream: WireHex128
    upto: Annotated[int, Meta(ge=0, le=2**53)]
    missing: Annotated[list[SeqRange], Meta(max_length=MAX_MISSING_RANGES)] = []


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cumulative and idempotent: losing one costs nothing. Travels inside a DSSE envelope (`protocol.signing`).

    Answers batches; and comes unasked when somebody listens again after nobody did. Whatever it says, it is a sign that
    the server is there: what waits for an answer longer than a first time is sent again.
    """

    streams: Annotated[list[StreamAck], Meta(max_length=MAX_ACK_STREAMS)]
    db_epoch: WireHex128
    server_time_ms: WireMillis


@dataclass(slots=True)
class Received:
    """Which sequence numbers of one stream are committed."""

    upto: int
    beyond: list[tuple[int, int]]

    @classmethod
    def empty(cls) -> Received:
        return cls(upto=0, beyond=[])

    def add(self, first: int, last: int) -> None:
        if last <= self.upto:
            return
        merged_first, merged_last = max(first, self.upto + 1), last
        keep: list[tuple[int, int]] = []
        for low, high in self.beyond:
            if high + 1 < merged_first or merged_last + 1 < low:
                keep.append((low, high))
            else:
                merged_first, merged_last = min(low, merged_first), max(high, merged_last)
        keep.insert(bisect_left(keep, (merged_first, merged_last)), (merged_first, merged_last))
        if keep[0][0] == self.upto + 1:
            self.upto = keep.pop(0)[1]
        self.beyond = keep

    def holds(self, seq: int) -> bool:
        return seq <= self.upto or any(low <= seq <= high for low, high in self.beyond)

    def missing(self) -> list[SeqRange]:
        """The gaps below the highest committed number, oldest first, bounded."""
        gaps: list[SeqRange] = []
        expected = self.upto + 1
        for low, high in self.beyond[:MAX_MISSING_RANGES]:
            gaps.append(SeqRange(expected, low - 1))
            expected = high + 1
        return gaps

    def lacking(self, first: int, last: int) -> list[SeqRange]:
        """The numbers from ``first`` to ``last`` that were not added, as ranges in order."""
        found: list[SeqRange] = []
        expected = max(first, self.upto + 1)
        for low, high in self.beyond:
            if low > last:
                break
            if expected < low:
                found.append(SeqRange(expected, low - 1))
            expected = max(expected, high + 1)
        if expected <= last:
            found.append(SeqRange(expected, last))
        return found

    def ack(self, stream: str) -> StreamAck:
        missing = self.missing()
        if 0 < len(missing) < MAX_MISSING_RANGES and self.beyond[-1][1] < MAX_SEQ:
            unseen = self.beyond[-1][1] + 1
            missing.append(SeqRange(unseen, unseen))
        return StreamAck(stream, self.upto, missing)
