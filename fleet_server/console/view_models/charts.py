"""Geometry of the small drawings beside a value, as numbers for SVG attributes. No style, no text.

A strip shows the normal range and the value in it. A spark shows the course: a gap in the data is a gap in the line and
is never bridged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from protocol.catalogue.normal_range import AtLeast, AtMost, Between, NormalRange

_WIDTH = 112.0
_SPARK_HEIGHT = 18.0
_TICK = 3.0
# A scale that is more than this many times the interesting part says nothing: then the interesting part is the scale.
_WIDEST_SCALE = 20.0
_RANGE = re.compile(r"(-?[0-9.e+]+)\.\.(-?[0-9.e+]+)")


@dataclass(frozen=True, slots=True)
class Strip:
    """In a box of 112 by 14."""

    normal_x: str
    normal_width: str
    tick_x: str


@dataclass(frozen=True, slots=True)
class Spark:
    """In a box of 112 by 18. ``out`` is the part of the line that leaves the normal range."""

    line: str
    out: str
    band_y: str
    band_height: str


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)


def range_strip(normal: NormalRange | None, value: float, written_range: str) -> Strip | None:
    bounds = limits(normal)
    if bounds is None:
        return None
    scale = _scale_for(bounds, value, written_range)
    low, high = bounds
    start = 0.0 if low is None else scale.place(low) * _WIDTH
    end = _WIDTH if high is None else scale.place(high) * _WIDTH
    tick = min(max(scale.place(value) * _WIDTH - _TICK / 2, 0.0), _WIDTH - _TICK)
    return Strip(_text(start), _text(max(end - start, 1.0)), _text(tick))


@dataclass(frozen=True, slots=True)
class Period:
    """What the width of a drawing stands for."""

    begin: datetime
    end: datetime

    def place(self, at: datetime) -> float:
        """From 0 to 1, whatever lies outside."""
        span_s = max((self.end - self.begin).total_seconds(), 1.0)
        return min(max((at - self.begin).total_seconds() / span_s, 0.0), 1.0)


def spark_line(
    points: Sequence[tuple[datetime, float | None]], normal: NormalRange | None, period: Period
) -> Spark | None:
    """A device heard for the last minutes only has a line in the last part of the box only."""
    known = [value for _, value in points if value is not None]
    if len(known) < 2:
        return None
    low, high = limits(normal) or (None, None)
    scale = _padded([*known, *(bound for bound in (low, high) if bound is not None)])
    placed = [(None if value is None else (period.place(at) * _WIDTH, _y(scale, value), value)) for at, value in points]
    top = 0.0 if high is None else _y(scale, high)
    bottom = _SPARK_HEIGHT if low is None else _y(scale, low)
    has_band = (low, high) != (None, None)
    return Spark(
        line=_path([None if one is None else one[:2] for one in placed]),
        out=_path([one[:2] if one is not None and _is_out(one[2], low, high) else None for one in placed]),
        band_y=_text(top) if has_band else "0",
        band_height=_text(max(bottom - top, 0.0)) if has_band else "0",
    )


def limits(normal: NormalRange | None) -> tuple[float | None, float | None] | None:
    match normal:
        case AtMost(limit):
            return None, limit
        case AtLeast(limit):
            return limit, None
        case Between(low, high):
            return low, high
        case _:
            return None


def _scale_for(bounds: tuple[float | None, float | None], value: float, written_range: str) -> _Scale:
    interesting = _padded([value, *(bound for bound in bounds if bound is not None)])
    written = _RANGE.fullmatch(written_range)
    if written is None:
        return interesting
    low, high = float(written[1]), float(written[2])
    is_useful = low < high and (high - low) <= _WIDEST_SCALE * (interesting.high - interesting.low)
    return _Scale(low, high) if is_useful else interesting


def _padded(values: Sequence[float]) -> _Scale:
    low, high = min(values), max(values)
    pad = (high - low) * 0.25 or abs(high) * 0.25 or 1.0
    return _Scale(low - pad, high + pad)


def _y(scale: _Scale, value: float) -> float:
    return _SPARK_HEIGHT * (1 - scale.place(value))


def _is_out(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    parts: list[str] = []
    is_drawing = False
    for point in points:
        if point is None:
            is_drawing = False
            continue
        parts.append(f"{'L' if is_drawing else 'M'}{_text(point[0])} {_text(point[1])}")
        is_drawing = True
    return "".join(parts)


def _text(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
