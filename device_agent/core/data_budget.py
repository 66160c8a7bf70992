"""What the link may carry in a day and in a month, and what is done without when that comes to its end.

Counted is everything, live mode and handshakes too, by days and months of the device's own calendar on the trusted
clock. From `NEAR_SHARE` of a bound on live mode is not entered and samples are taken and told more rarely; when a bound
is reached even more so, and what keeps a terminal from trading waits (`Condition.DATA_BUDGET_SPENT`). Urgent records
are never held, and a value that leaves its normal range is told at once as ever.

Invariants: what was counted of a month is never counted down, whatever the clock does, until a later month begins; over
a restart at most `SAVED_EVERY_BYTES` of it are forgotten. Whoever has no bound only counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

import msgspec

from device_agent.core.effects import JobDone
from device_agent.core.sampler import Pace
from protocol import codec
from protocol.records import Sample
from protocol.safety import Condition
from protocol.session import Flow

NEAR_SHARE: Final = 0.8
# How many times more rarely samples are taken and told.
SLOWER: Final = (1, 4, 24)
# Each write is a flush to flash: not for every few packets.
SAVED_EVERY_BYTES: Final = 16 * 1024
_MIB: Final = 1024 * 1024
_SPENT: Final = frozenset({Condition.DATA_BUDGET_SPENT})


class Level(IntEnum):
    FREE = 0
    NEAR = 1
    SPENT = 2


def _utc(_at_ms: int) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes; 0: no bound. ``offset_s``: how far local time is ahead of UTC at a moment."""

    day_bytes: int = 0
    month_bytes: int = 0
    offset_s: Callable[[int], int] = _utc

    def __bool__(self) -> bool:
        return bool(self.day_bytes or self.month_bytes)


class Used(msgspec.Struct, frozen=True):
    """``day`` and ``month``: local, as in 2026-11-30; what was carried in each."""

    day: str = ""
    month: str = ""
    day_bytes: int = 0
    month_bytes: int = 0

    def at(self, day: str) -> Used:
        """A clock that went back begins nothing anew."""
        if day <= self.day:
            return self
        is_later_month = day[:7] > self.month
        return Used(day, day[:7] if is_later_month else self.month, 0, 0 if is_later_month else self.month_bytes)


class DataBudget:
    FACT: Final = "data_used"

    def __init__(self, limits: Limits, stored: str | None) -> None:
        kept = codec.from_json(stored.encode(), Used) if stored else None
        self.limits = limits
        self.used = kept if isinstance(kept, Used) else Used()
        self._saved = self.used
        self._total = 0

    @property
    def share(self) -> float:
        """Of the bound that is nearest; 0 without any."""
        parts = (
            (self.used.day_bytes, self.limits.day_bytes),
            (self.used.month_bytes, self.limits.month_bytes),
        )
        return max((used / bound for used, bound in parts if bound), default=0.0)

    @property
    def level(self) -> Level:
        share = self.share
        return Level.SPENT if share >= 1 else Level.NEAR if share >= NEAR_SHARE else Level.FREE

    def on_carried(self, total_bytes: int, at_ms: int) -> bool:
        """``total_bytes``: since this process began. Whether the level is another than before."""
        before = self.level
        now = self.used.at(self._day(at_ms))
        more, self._total = max(total_bytes - self._total, 0), max(total_bytes, self._total)
        self.used = msgspec.structs.replace(now, day_bytes=now.day_bytes + more, month_bytes=now.month_bytes + more)
        return self.level is not before

    def set_back(self, at_ms: int) -> None:
        """The clock was ahead: what was counted is of today, or no month would begin before that one was over."""
        day = self._day(at_ms)
        if day < self.used.day:
            self.used = msgspec.structs.replace(self.used, day=day, month=day[:7])

    def to_save(self, *, is_last: bool = False) -> dict[str, str]:
        """The fact to write down now; none while what is written down is near enough."""
        is_new = self.used.day != self._saved.day
        grown = self.used.month_bytes - self._saved.month_bytes
        if self.used == self._saved or not (is_last or is_new or grown >= SAVED_EVERY_BYTES):
            return {}
        self._saved = self.used
        return {self.FACT: codec.to_json(self.used).decode()}

    def beside(self, done: JobDone) -> JobDone:
        """With what the link adds to the conditions of a device."""
        if self.level is not Level.SPENT:
            return done
        return dataclasses.replace(done, conditions=done.conditions | _SPENT)

    def allowed(self, flow: Flow) -> Flow:
        """Live mode is not entered any more when the budget comes to its end."""
        return flow if self.level is Level.FREE else msgspec.structs.replace(flow, live_for_s=0.0)

    def slowed(self, pace: Pace) -> Pace:
        times = SLOWER[self.level]
        return dataclasses.replace(pace, sample_s=pace.sample_s * times, report_s=pace.report_s * times)

    def readings(self) -> dict[str, Sample]:
        """For whoever looks at the device from afar; nothing where there is no bound."""
        if not self.limits:
            return {}
        return {
            "agent.data_month_mb": round(self.used.month_bytes / _MIB, 2),
            "agent.data_budget_pct": round(100 * self.share, 1),
        }

    def _day(self, at_ms: int) -> str:
        return datetime.fromtimestamp(at_ms / 1000 + self.limits.offset_s(at_ms), UTC).date().isoformat()
