"""When a shop trades, declared or learned from the hours in which its device was heard. Pure.

All comparing is done in the site's own time zone on wall-clock hours, so that a change to summer time moves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LEARN_FROM = timedelta(days=7)
LOOK_BACK = timedelta(days=28)
# With fewer weeks than this all days are taken as alike.
_WEEKS_FOR_WEEKDAYS = 3


@dataclass(frozen=True, slots=True)
class Habit:
    """What is known of a site's hours: ``declared`` spans a day ("06:00" to "22:00"; an end before its start is past
    midnight), or the UTC starts of the hours ``heard`` in the last four weeks.
    """

    timezone: str
    declared: Sequence[Sequence[str]] | None
    heard: Collection[datetime]


def trading_probability(habit: Habit, now: datetime) -> float | None:
    """How likely the shop trades at ``now``; None when too little is known to say."""
    zone = _zone(habit.timezone)
    local = now.astimezone(zone)
    if habit.declared is not None:
        return 1.0 if any(_within(span, local.time()) for span in habit.declared) else 0.0
    recent = {hour for hour in habit.heard if now - LOOK_BACK <= hour <= now}
    if not recent or now - min(recent) < LEARN_FROM:
        return None
    days = (local.date() - min(recent).astimezone(zone).date()).days
    heard_days = {
        (there.date() - local.date()).days
        for there in (hour.astimezone(zone) for hour in recent)
        if there.hour == local.hour and there.date() < local.date()
    }
    same_weekday = range(-7, -days - 1, -7)
    compared = same_weekday if len(same_weekday) >= _WEEKS_FOR_WEEKDAYS else range(-1, -days - 1, -1)
    return sum(day in heard_days for day in compared) / len(compared)


def hour_of(moment: datetime) -> datetime:
    """The start of the UTC hour: the key of what was heard."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _within(span: Sequence[str], at: time) -> bool:
    opens, closes = (_time(text) for text in span)
    if opens == closes:
        return True
    return opens <= at < closes if opens < closes else at >= opens or at < closes


def _time(text: str) -> time:
    # "24:00" is how people write the end of a day; one from 00:00 to 24:00 then starts where it ends: always.
    return time(0) if text == "24:00" else time.fromisoformat(text)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # Enrolment checks the name; a zone that a newer tz database dropped must not stop the sweep.
        return ZoneInfo("UTC")
