"""Which time a chart page shows: one of the usual spans up to now, or from one moment to another.

What is written in the address is a wall clock's time of the site. What cannot be read, or makes no sense, is left out:
then the page shows the usual span and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fleet_server.console.language import N_
from fleet_server.console.moments import Calendar
from fleet_server.console.view_models.charts import Period

SPANS: Mapping[str, tuple[timedelta, str]] = {
    "1h": (timedelta(hours=1), N_("1 hour")),
    "8h": (timedelta(hours=8), N_("8 hours")),
    "1d": (timedelta(days=1), N_("1 day")),
    "7d": (timedelta(days=7), N_("7 days")),
    "30d": (timedelta(days=30), N_("30 days")),
}
USUAL = "8h"
# As long as days are kept at most; a longer one would only show nothing.
LONGEST = timedelta(days=3660)
_SHORTEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Chosen:
    """``span``: a key of `SPANS`, or empty for a period of its own. ``begin``, ``end``: as an input shows them."""

    period: Period
    span: str
    begin: str
    end: str
    is_unreadable: bool = False


def choose_period(span: str, begin: str, end: str, calendar: Calendar) -> Chosen:
    """A period of its own only when both its ends can be read."""
    if not begin and not end:
        return _up_to_now(span if span in SPANS else USUAL, calendar)
    begin_at, end_at = _read(begin, calendar), _read(end, calendar)
    if begin_at is None or end_at is None or not _SHORTEST <= end_at - begin_at <= LONGEST:
        usual = _up_to_now(USUAL, calendar)
        return Chosen(usual.period, USUAL, begin, end, is_unreadable=True)
    return Chosen(Period(begin_at, end_at), "", _written(begin_at, calendar), _written(end_at, calendar))


def _up_to_now(span: str, calendar: Calendar) -> Chosen:
    period = Period(calendar.now - SPANS[span][0], calendar.now)
    return Chosen(period, span, "", "")


def _read(text: str, calendar: Calendar) -> datetime | None:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Years at either end of the calendar cannot be moved to another zone.
    if not 1970 <= read.year <= 9000:
        return None
    return (read.replace(tzinfo=calendar.zone) if read.tzinfo is None else read).astimezone(UTC)


def _written(moment: datetime, calendar: Calendar) -> str:
    return moment.astimezone(calendar.zone).strftime("%Y-%m-%dT%H:%M")
