"""What a device's driver did lately, for bundles: polls whose outcome changed, parts of actions with their time.

Bounded by `MAX_LINES`; written by the device's worker, read by whoever asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

MAX_LINES: Final = 200
_MAX_CHARS: Final = 240


class Trace:
    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._polled = ""

    def add(self, words: str) -> None:
        self._lines.append(f"{self._now():%Y-%m-%dT%H:%M:%SZ} {words}"[:_MAX_CHARS])

    def polled(self, words: str) -> None:
        """Said once, until it is another."""
        if words != self._polled:
            self._polled = words
            self.add(words)

    def lines(self) -> list[str]:
        return list(self._lines.copy())
