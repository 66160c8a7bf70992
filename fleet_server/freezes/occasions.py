"""When acquirers in China usually freeze: the days on which most is paid, and those of the books' closing.

Suggestions, for a form to begin with: what an acquirer's own notice says goes before. Pure: no clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from protocol.parameters import Words

_AHEAD = timedelta(days=366)
# First day of the lunar year, as the Hong Kong Observatory's calendar has it.
_SPRING_FESTIVAL = {
    2026: date(2026, 2, 17),
    2027: date(2027, 2, 6),
    2028: date(2028, 1, 26),
    2029: date(2029, 2, 13),
    2030: date(2030, 2, 3),
    2031: date(2031, 1, 23),
    2032: date(2032, 2, 11),
    2033: date(2033, 1, 31),
    2034: date(2034, 2, 19),
    2035: date(2035, 2, 8),
    2036: date(2036, 1, 28),
}
# Key, name, first and last day: the public holiday, or the days of the sale, and the day before.
_FIXED = (
    ("year_end", Words("年终决算", "Closing of the year"), (12, 30), (1, 2)),
    ("may_day", Words("劳动节", "Labour Day"), (4, 30), (5, 5)),
    ("june_sale", Words("618 购物节", "618 sale"), (6, 16), (6, 19)),
    ("national_day", Words("国庆节", "National Day"), (9, 29), (10, 8)),
    ("double_11", Words("双十一", "Double 11"), (11, 9), (11, 12)),
)
_SPRING_NAME = Words("春节", "Spring Festival")
# From a week before the first day of the year, when people buy for the feast, to the first day of work after it.
_SPRING_BEFORE, _SPRING_AFTER = timedelta(days=7), timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Occasion:
    """``first`` and ``last``: local dates, both in."""

    key: str
    name: Words
    first: date
    last: date

    def span(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """From midnight to midnight on the clocks of ``zone``, in UTC."""
        begin = datetime.combine(self.first, time.min, zone).astimezone(UTC)
        return begin, datetime.combine(self.last + timedelta(days=1), time.min, zone).astimezone(UTC)


def occasions_after(today: date) -> list[Occasion]:
    """Those of the next twelve months that have not ended, next first."""
    found = [one for one in _all(today) if one.last >= today and one.first <= today + _AHEAD]
    return sorted(found, key=lambda one: one.first)


def _all(today: date) -> Iterator[Occasion]:
    for year in range(today.year - 1, today.year + 2):
        for key, name, first, last in _FIXED:
            wraps = last < first
            yield Occasion(key, name, date(year, *first), date(year + wraps, *last))
        new_year = _SPRING_FESTIVAL.get(year)
        if new_year is not None:
            yield Occasion("spring_festival", _SPRING_NAME, new_year - _SPRING_BEFORE, new_year + _SPRING_AFTER)
