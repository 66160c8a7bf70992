"""The moment a thing happened, handed to every decision: a monotonic part for durations, a wall part as a note.

Invariant: nothing in the core computes a duration from `wall`; a clock that jumps by years changes no decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

NS_PER_S = 1_000_000_000
_MAX_MS = 2**53


@dataclass(frozen=True, slots=True)
class Instant:
    monotonic_ns: int
    wall: datetime

    @property
    def mono_ms(self) -> int:
        return self.monotonic_ns // 1_000_000

    @property
    def wall_ms(self) -> int:
        """Unix milliseconds of the device's own clock, held inside what the wire can carry."""
        return min(max(int(self.wall.timestamp() * 1000), 0), _MAX_MS)

    def in_s(self, seconds: float) -> int:
        """The monotonic moment ``seconds`` from now, in nanoseconds."""
        return self.monotonic_ns + int(seconds * NS_PER_S)


def earliest(*moments_ns: int | None) -> int | None:
    """The first of the given monotonic moments; None stands for never."""
    present = [moment for moment in moments_ns if moment is not None]
    return min(present) if present else None
