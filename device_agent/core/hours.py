"""The device's maintenance window, in its own local time, by the trusted clock: the terminal's own may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_DAY_MS: Final = 86_400_000
_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Hours:
    """From ``start_min`` to before ``end_min`` of the local day, over midnight when the end comes first; equal: always.
    ``offset_s``: how far local time is ahead of UTC at a moment.
    """

    start_min: int
    end_min: int
    offset_s: Callable[[int], int]

    def is_open(self, at_ms: int) -> bool:
        minute = self._local_ms(at_ms) % _DAY_MS // _MINUTE_MS
        if self.start_min <= self.end_min:
            return self.start_min == self.end_min or self.start_min <= minute < self.end_min
        return minute >= self.start_min or minute < self.end_min

    def opens_ms(self, at_ms: int) -> int:
        """``at_ms`` itself while it is open, else when it opens next."""
        if self.is_open(at_ms):
            return at_ms
        local_ms = self._local_ms(at_ms)
        opens = local_ms - local_ms % _DAY_MS + self.start_min * _MINUTE_MS
        opens += _DAY_MS if opens <= local_ms else 0
        found = opens - self.offset_s(at_ms) * 1000
        # The clocks may be changed in between.
        return found + (self.offset_s(at_ms) - self.offset_s(found)) * 1000

    def _local_ms(self, at_ms: int) -> int:
        return at_ms + self.offset_s(at_ms) * 1000


def minutes_of(window: str) -> tuple[int, int]:
    """``02:00-05:30`` as minutes of the day."""
    start, _, end = window.partition("-")
    hours = [text.split(":") for text in (start, end)]
    first, last = (int(hour) * 60 + int(minute) for hour, minute in hours)
    return first, last
