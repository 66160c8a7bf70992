"""A clock that only signed times move: max(floor, last signed server time) plus the monotonic time since.

The floor is the latest of build time, persisted time and newest spool record; each of them is in the past, so a floor
plus the time since start never runs ahead of the truth. A wall clock that starts in 1970 or jumps changes nothing here.
A server that was years ahead is believed like any other; from there only the root's word leads back, in a policy
(`protocol.signing.Policy.clock_ms`), and each such word once.

Invariant: `now_ms` never goes back, whatever times are heard and in whatever order, but by a later word of the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from device_agent.core.instant import Instant
from protocol.records import SecurityEvent
from protocol.signing import Policy

# The protocol's first version is dated later than this: no shorter-lived thing can be valid before it.
BUILD_FLOOR_MS: Final = 1_793_491_200_000  # 2026-11-01T00:00:00Z
# How far the clock moves before it is written down again; bounds writes to flash.
PERSIST_EVERY_MS: Final = 600_000
FLOOR: Final = "floor_ms"


@dataclass(frozen=True, slots=True, order=True)
class Floor:
    """What is written down. ``told_ms``: the root's last word; a floor after it counts more than any from before."""

    told_ms: int = 0
    at_ms: int = 0

    @classmethod
    def from_text(cls, text: str | None) -> Floor:
        at, _, told = (text or "0").partition("@")
        return cls(int(told or 0), int(at))

    def to_text(self) -> str:
        return f"{self.at_ms}@{self.told_ms}"


@dataclass(slots=True)
class TrustedClock:
    """``told_ms``: the root's last word that was taken. ``is_signed``: a signed server time was heard since the start,
    or since that word.
    """

    told_ms: int
    _anchor_ms: int
    _anchor_mono_ms: int
    _persisted_ms: int = 0
    is_signed: bool = False

    @classmethod
    def starting(cls, now: Instant, *, persisted: Floor, newest_record_ms: int) -> TrustedClock:
        if persisted.told_ms:
            # Records of before the clock was set back may lie in the spool. What is newer than what was written down is
            # that by the time between two writings at most.
            newest_record_ms = min(newest_record_ms, persisted.at_ms + PERSIST_EVERY_MS)
        floor_ms = max(BUILD_FLOOR_MS, persisted.at_ms, newest_record_ms)
        return cls(persisted.told_ms, floor_ms, now.mono_ms, persisted.at_ms)

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

    def on_policy(self, policy: Policy, now: Instant) -> list[SecurityEvent]:
        """The root's word, if the policy has one later than the last; what was changed by it."""
        if policy.clock_ms <= self.told_ms:
            return []
        ahead_s = (self.now_ms(now) - policy.clock_ms) // 1000
        self.told_ms = policy.clock_ms
        self._anchor_ms, self._anchor_mono_ms = policy.clock_ms, now.mono_ms
        # What comes of the server next counts as the first that was heard; and this is written down at once.
        self.is_signed = False
        self._persisted_ms = 0
        return (
            [SecurityEvent("clock.set_back", f"by {ahead_s} s, as policy {policy.version} says")] if ahead_s > 0 else []
        )

    def facts_due(self, now: Instant) -> dict[str, str]:
        """What to write down: nothing while it has not moved far enough to be worth a write."""
        current = self.now_ms(now)
        if current - self._persisted_ms < PERSIST_EVERY_MS:
            return {}
        self._persisted_ms = current
        return {FLOOR: Floor(self.told_ms, current).to_text()}
