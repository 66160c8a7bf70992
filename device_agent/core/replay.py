"""Which command counters were used: a window of 1,024 below the highest seen, per device and key, as in RFC 4303.

Invariant: a counter is accepted at most once; one that fell out of the window below is never accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.commands import COUNTER_WINDOW

_MASK: Final = (1 << COUNTER_WINDOW) - 1


@dataclass(frozen=True, slots=True)
class ReplayWindow:
    """Bit ``n`` of ``seen`` stands for the counter ``highest - n``."""

    highest: int = 0
    seen: int = 0

    @classmethod
    def from_text(cls, text: str | None) -> ReplayWindow:
        if not text:
            return cls()
        highest, _, seen = text.partition(":")
        return cls(int(highest), int(seen, 16))

    @classmethod
    def all_used(cls, highest: int) -> ReplayWindow:
        """For who no longer knows which of those below were used."""
        return cls(highest, _MASK if highest else 0)

    def to_text(self) -> str:
        return f"{self.highest}:{self.seen:x}"

    def was_used(self, counter: int) -> bool:
        if counter > self.highest:
            return False
        behind = self.highest - counter
        return behind >= COUNTER_WINDOW or bool(self.seen >> behind & 1)

    def with_used(self, counter: int) -> ReplayWindow:
        if counter > self.highest:
            # A leap beyond the window leaves nothing of it; do not build a number of that many bits.
            moved = self.seen << (counter - self.highest) if counter - self.highest < COUNTER_WINDOW else 0
            return ReplayWindow(counter, (moved | 1) & _MASK)
        behind = self.highest - counter
        return self if behind >= COUNTER_WINDOW else ReplayWindow(self.highest, self.seen | 1 << behind)
