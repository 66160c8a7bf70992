"""What a run counts: messages, records, acknowledgements and how long they took, in bounded memory.

Times go into bins that grow by an eighth of a doubling each, so that a percentile is told within 9 % whatever the
number of samples. Invariant: ``made == acked + open`` at every moment, where ``open`` is what the links still hold.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import ceil, log2
from typing import Final

_BINS_A_DOUBLING: Final = 8
# From 0.1 ms to more than a day.
_SMALLEST_S: Final = 1e-4
_BINS: Final = 256


class Times:
    """A histogram of durations."""

    __slots__ = ("_bins", "count", "longest_s")

    def __init__(self) -> None:
        self._bins = [0] * _BINS
        self.count = 0
        self.longest_s = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        place = ceil(log2(max(seconds, _SMALLEST_S) / _SMALLEST_S) * _BINS_A_DOUBLING)
        self._bins[min(place, _BINS - 1)] += times
        self.count += times
        self.longest_s = max(self.longest_s, seconds)

    def percentile_s(self, share: float) -> float:
        """The upper end of the bin in which ``share`` of all are reached; 0 when nothing was added."""
        wanted = share * self.count
        seen = 0
        for place, number in enumerate(self._bins):
            seen += number
            if number and seen >= wanted:
                return float(min(_SMALLEST_S * 2 ** (place / _BINS_A_DOUBLING), self.longest_s))
        return self.longest_s


@dataclass(slots=True)
class Tally:
    """``counts`` has fixed names only: see `WireLink` and `Swarm`."""

    counts: Counter[str] = field(default_factory=Counter)
    acks: Times = field(default_factory=Times)  # from a record's being there to its acknowledgement
    urgent_acks: Times = field(default_factory=Times)
    recent: Times = field(default_factory=Times)  # as `acks`, since somebody last looked
    surge: Times | None = None  # as `acks`, while somebody wants to know

    def acknowledged(self, seconds: float, records: int, *, is_urgent: bool) -> None:
        self.counts["acked"] += records
        self.acks.add(seconds, records)
        self.recent.add(seconds, records)
        if self.surge is not None:
            self.surge.add(seconds, records)
        if is_urgent:
            self.urgent_acks.add(seconds, records)

    def take_recent(self) -> Times:
        recent, self.recent = self.recent, Times()
        return recent
