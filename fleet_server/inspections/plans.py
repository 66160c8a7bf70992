"""What an inspection asks for and when: windows on local clocks, each device's moment in its window, what a turn is
worth. Pure: no clock, no database.

A window opens at a time of day on the clocks where the devices stand, and lasts so many minutes. Where a clock is put
forward over the opening, the window opens when the missing hour is over; where an hour comes twice, the first counts.

Invariant: a device's moment lies inside its window, and is the same however often it is asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

MAX_CHECKS = 10
MAX_LISTED = 2000
SHORTEST_WINDOW_MIN, LONGEST_WINDOW_MIN = 1, 720
EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
# How far ahead turns are made, and how far back windows are looked for that nobody was there to open.
LEAD = timedelta(minutes=5)
LOOK_BACK = timedelta(days=7)
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_PARTS = 1 << 32


class PlanState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


class TurnState(StrEnum):
    WAITING = "waiting"
    ASKED = "asked"
    DONE = "done"
    MISSED = "missed"


class Missed(StrEnum):
    """Why there is no result."""

    OFFLINE = "offline"  # its link was not there while the window was open
    NO_ANSWER = "no_answer"  # it was asked, and no check ran to its end
    SERVER_AWAY = "server_away"  # no scheduler ran, or it did not come to it, while the window was open
    RETIRED = "retired"
    UNKNOWN = "capabilities_unknown"  # the device has not yet said what it can do
    PAUSED = "paused"  # the inspection was paused or ended meanwhile
    FREEZE = "freeze"  # one was in force, and a check of it is not only a look
    SUSPENDED = "suspended"  # the tenant was, and nothing is sent to its terminals


# The worst first. ``unsupported``: the device has none of the checks.
OUTCOMES = ("fail", "error", "warn", "unsupported", "pass")


@dataclass(frozen=True, slots=True)
class Group:
    """Devices by what they are, looked for anew at each round; or the devices of a list. None: whatever it is."""

    q: str = ""
    site: str | None = None
    kind: str | None = None
    model: str | None = None
    firmware: str | None = None
    agent: str | None = None
    ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Window:
    local_date: date
    opens_at: datetime
    closes_at: datetime


@dataclass(frozen=True, slots=True)
class Times:
    """``at``: HH:MM, see `is_time`."""

    days: tuple[int, ...]
    at: str
    window_min: int

    def window(self, day: date, zone: ZoneInfo) -> Window:
        hour, minute = int(self.at[:2]), int(self.at[3:])
        opens_at = datetime.combine(day, time(hour, minute), zone).astimezone(UTC)
        return Window(day, opens_at, opens_at + timedelta(minutes=self.window_min))

    def windows(self, zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[Window]:
        """Those that open from ``begin`` on and not after ``end``, oldest first."""
        day = begin.astimezone(zone).date() - timedelta(days=1)
        last = end.astimezone(zone).date() + timedelta(days=1)
        while day <= last:
            if day.isoweekday() in self.days:
                window = self.window(day, zone)
                if begin <= window.opens_at <= end:
                    yield window
            day += timedelta(days=1)

    def next_after(self, zone: ZoneInfo, now: datetime) -> datetime:
        return next(self.windows(zone, now, now + timedelta(days=9))).opens_at


def is_time(text: str) -> bool:
    return _TIME.fullmatch(text) is not None


def moment(inspection_id: str, device_id: str, window: Window, now: datetime) -> datetime:
    """When a device is asked: anywhere in the window by chance, in what is left of it when that is late. The last
    tenth is kept for those that come online late.
    """
    begin = max(window.opens_at, now)
    end = window.closes_at - (window.closes_at - window.opens_at) / 10
    if begin >= end:
        return begin
    seed = f"{inspection_id}\n{window.local_date.isoformat()}\n{device_id}".encode()
    part = int.from_bytes(hashlib.sha256(seed).digest()[:4], "big") / _PARTS
    return begin + (end - begin) * part


def worst(outcomes: Sequence[str]) -> str:
    """The one that a person has to look at first; "" of none."""
    return min(outcomes, key=OUTCOMES.index, default="")


def settled(results: Mapping[str, Mapping[str, str]]) -> tuple[TurnState, str, str]:
    """State, outcome and reason of a turn all of whose checks have ended; one check with a verdict makes it count."""
    outcomes = [one["outcome"] for one in results.values() if one.get("outcome") in OUTCOMES]
    if not outcomes:
        return TurnState.MISSED, "", Missed.NO_ANSWER.value
    if len(outcomes) < len(results):
        # What did not run to its end is something to look at, unless something worse was found.
        outcomes.append("error")
    return TurnState.DONE, worst(outcomes), ""
