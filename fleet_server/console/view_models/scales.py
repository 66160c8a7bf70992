"""Where numbers and moments stand on an axis, and which of them are written beside it. No style.

Moments are marked at round local times: a shift in daylight saving moves the marks with the clock on the wall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from babel.numbers import format_compact_decimal

from fleet_server.console.language import Language
from fleet_server.console.moments import Calendar
from fleet_server.console.templating import number_text
from fleet_server.console.view_models.charts import Period

# From here on a number on an axis is written short: 213M, 2.1亿.
_LONG = 10_000
_MOST_STEPS = 4
_MOST_MOMENTS = 6
_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720)
_DAYS = (1, 2, 5, 7, 14, 30, 60, 120, 240)


@dataclass(frozen=True, slots=True)
class Scale:
    """From the lowest to the highest mark; ``marks`` ascend."""

    marks: tuple[float, ...]

    @property
    def low(self) -> float:
        return self.marks[0]

    @property
    def high(self) -> float:
        return self.marks[-1]

    def place(self, value: float) -> float:
        """From 0 at the bottom to 1 at the top, whatever lies outside."""
        share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)


def scale_of(values: Sequence[float]) -> Scale:
    """Round marks around all the values, at most five."""
    low, high = min(values), max(values)
    if high - low <= abs(high) * 1e-9:
        pad = abs(high) * 0.1 or 1.0
        low, high = low - pad, high + pad
    step = _round_step((high - low) / _MOST_STEPS)
    first, last = math.floor(low / step), math.ceil(high / step)
    while last - first > _MOST_STEPS:
        step = _round_step(step * 1.01)
        first, last = math.floor(low / step), math.ceil(high / step)
    return Scale(tuple(number * step for number in range(first, last + 1)))


def mark_text(value: float, language: Language) -> str:
    if abs(value) < _LONG:
        return number_text(float(f"{value:.6g}"))
    return format_compact_decimal(value, fraction_digits=1, locale=language.folder).replace("-", "\N{MINUS SIGN}")


def moments_of(period: Period, calendar: Calendar) -> list[tuple[datetime, str]]:
    """At most seven round moments within the period, each with its words."""
    span = period.end - period.begin
    for minutes in _MINUTES:
        if span <= _MOST_MOMENTS * timedelta(minutes=minutes):
            return _within(period, calendar, timedelta(minutes=minutes))
    for days in _DAYS:
        if span <= _MOST_MOMENTS * timedelta(days=days):
            return _within(period, calendar, timedelta(days=days))
    return []


def _within(period: Period, calendar: Calendar, step: timedelta) -> list[tuple[datetime, str]]:
    begin = period.begin.astimezone(calendar.zone)
    wall = begin.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    found: list[tuple[datetime, str]] = []
    last = period.end.astimezone(calendar.zone).replace(tzinfo=None)
    while wall <= last:
        at = wall.replace(tzinfo=calendar.zone).astimezone(UTC)
        if period.begin <= at <= period.end and (not found or at > found[-1][0]):
            is_midnight = wall.hour == wall.minute == 0
            found.append((at, calendar.month_day(at) if is_midnight else calendar.hour_minute(at)))
        wall += step
    return found


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
