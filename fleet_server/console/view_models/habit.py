"""The habit strip: 24 hours of when a device usually trades against when it was heard, in the site's own time.

Grey is the habit, green is contact, the red outline is what is missing, the line is now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

_WIDTH = 96
_HOUR_PX = _WIDTH / 24
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class HabitStrip:
    """Paths in a box of 96 by 14; an empty path is not drawn."""

    day: str
    up: str
    miss: str
    now_x: str


def habit_strip(
    trading: Sequence[Sequence[str]] | None,
    heard_hours: Collection[datetime],
    now: datetime,
    zone: tzinfo,
    known_since: datetime | None = None,
) -> HabitStrip:
    """``trading`` as on the site: local spans of a day, or None when they are not known. Nothing is missed of the time
    before ``known_since``.
    """
    local_now = now.astimezone(zone)
    today = local_now.date()
    minute_now = local_now.hour * 60 + local_now.minute
    spans = [span for pair in trading or () for span in _spans(pair)]
    heard = sorted({hour.astimezone(zone).hour for hour in heard_hours if hour.astimezone(zone).date() == today})
    up = _join([(hour * 60, min((hour + 1) * 60, minute_now)) for hour in heard if hour * 60 < minute_now])
    missing = _missing(spans, up, minute_now)
    if known_since is not None and known_since.astimezone(zone).date() == today:
        first = known_since.astimezone(zone).hour * 60 + known_since.astimezone(zone).minute
        missing = [(max(start, first), end) for start, end in missing if end > first]
    return HabitStrip(
        day="".join(f"M{_x(start)} 1H{_x(end)}V13H{_x(start)}z" for start, end in spans),
        up="".join(f"M{_x(start)} 7H{_x(end)}" for start, end in up),
        miss="".join(f"M{_x(start)} 4.5H{_x(end)}V9.5H{_x(start)}z" for start, end in missing),
        now_x=_x(minute_now),
    )


def _spans(pair: Sequence[str]) -> list[tuple[int, int]]:
    if len(pair) != 2:
        return []
    start, end = _minutes(pair[0]), _minutes(pair[1])
    if start is None or end is None:
        return []
    # Over midnight: the evening and the small hours of the same day's strip.
    return [(start, end)] if start < end else [(0, end), (start, _DAY_MINUTES)]


def _minutes(text: str) -> int | None:
    hours, _, minutes = text.partition(":")
    if not (hours.isdecimal() and minutes.isdecimal()):
        return None
    return min(int(hours) * 60 + int(minutes), _DAY_MINUTES)


def _join(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and joined[-1][1] >= start:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _missing(spans: list[tuple[int, int]], heard: list[tuple[int, int]], now: int) -> list[tuple[int, int]]:
    """What lies in a trading span, before now, and was not heard."""
    gaps: list[tuple[int, int]] = []
    for start, end in spans:
        at = start
        for up_start, up_end in heard:
            if up_end <= at or up_start >= end:
                continue
            if up_start > at:
                gaps.append((at, up_start))
            at = max(at, up_end)
        if at < min(end, now):
            gaps.append((at, min(end, now)))
    return gaps


def _x(minute: int) -> str:
    return f"{minute / 60 * _HOUR_PX:.1f}".removesuffix(".0")
