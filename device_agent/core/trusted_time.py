"""A clock that only signed times move: max(floor, last signed server time) plus the monotonic time since.

The floor is the latest of build time, persisted time and newest spool record; each of them is in the past, so a floor
plus the time since start never runs ahead of the truth. A wall clock that starts in 1970 or jumps changes nothing here.

Invariant: `now_ms` never goes back, whatever times are heard and in whatever order.
"""

from __future__ import annotations

from dataclasses import dataclass

from device_agent.core.instant import Instant

# The protocol's first version is dated later than this: no shorter-lived thing can be valid before it.
BUILD_FLOOR_MS = 1_793_491_200_000  # 2026-11-01T00:00:00Z
# How far the clock moves before it is written down again; bounds writes to flash.
PERSIST_EVERY_MS = 600_000


@dataclass(slots=True)
class TrustedClock:
    floor_ms: int
    started_mono_ms: int
    _anchor_ms: int = 0
    _anchor_mono_ms: int = 0
    _persisted_ms: int = 0
    is_signed: bool = False  # a signed server time was heard since this process started

    @classmethod
    def starting(cls, now: Instant, *, persisted_ms: int, newest_record_ms: int) -> TrustedClock:
        floor = max(BUILD_FLOOR_MS, persisted_ms, newest_record_ms)
        return cls(floor, now.mono_ms, floor, now.mono_ms, persisted_ms)

    def now_ms(self, now: Instant) -> int:
        return self._anchor_ms + max(now.mono_ms - self._anchor_mono_ms, 0)

    @property
    def offset_ms(self) -> int | None:
        """Signed server time minus monotonic time; behind the truth by as long as the quickest answer took. None: no
        signed time was heard since this process started.
        """
        return self._anchor_ms - self._anchor_mono_ms if self.is_signed else None

    def on_signed_time(self, server_time_ms: int, now: Instant) -> None:
        self.is_signed = True
        if server_time_ms > self.now_ms(now):
            self._anchor_ms, self._anchor_mono_ms = server_time_ms, now.mono_ms

    def to_persist(self, now: Instant) -> int | None:
        """The time to write down, when it has moved far enough to be worth a write."""
        current = self.now_ms(now)
        if current - self._persisted_ms < PERSIST_EVERY_MS:
            return None
        self._persisted_ms = current
        return current
