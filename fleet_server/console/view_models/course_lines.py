"""The course of one metric as paths in a box of 360 by 120, and the numbers that they were drawn from. No style.

A hole in the data is a hole in the line: nothing bridges it. Means stand in the middle of their bucket, between the
lowest and the highest sample of it; a bucket counts as out of range by those two, so that a mean hides no peak.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from fleet_server.console.view_models.charts import Period
from fleet_server.console.view_models.scales import Scale

WIDTH, HEIGHT = 360.0, 120.0
_HATCH_STEP = 9.0
# Samples this many times as far apart as usual have a hole between them, not a slow report.
_HOLE_STEPS = 3
# Isolated samples are lines of no length with round ends.
_DOT = "h.1"
Limits = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Measured:
    """A sample; or the mean of a bucket that begins at ``at``, with what lies in it."""

    at: datetime
    value: float
    low: float
    high: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Hole:
    x: str
    width: str
    hatch: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Attributes of SVG paths. ``area``: from the lowest to the highest of each bucket; empty for single samples."""

    line: str
    area: str
    out: str
    holes: tuple[Hole, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """Places moments and values."""

    period: Period
    scale: Scale

    def x(self, at: datetime) -> float:
        return self.period.place(at) * WIDTH

    def y(self, value: float) -> float:
        return HEIGHT * (1 - self.scale.place(value))


def lines_of(measured: Sequence[Measured], bucket: timedelta | None, limits: Limits, box: Box, limit: int) -> Lines:
    """``limit``: as many as there may be of them; so many samples have been thinned."""
    holes = holes_of(measured, bucket, box.period, limit)
    runs = _runs(measured, holes)
    holes_drawn = tuple(_hole(box.x(hole.begin), box.x(hole.end)) for hole in holes)
    if bucket is None:
        line = "".join(_path([(box.x(one.at), box.y(one.value)) for one in run]) for run in runs)
        return Lines(line, "", _samples_out(runs, limits, box), holes_drawn)
    line = "".join(_path(_course(run, bucket, box, lambda one: one.value)) for run in runs)
    area = "".join(_area(run, bucket, box) for run in runs)
    return Lines(line, area, _buckets_out(measured, bucket, limits, box), holes_drawn)


def holes_of(measured: Sequence[Measured], bucket: timedelta | None, period: Period, limit: int) -> list[Period]:
    """Where nothing was measured, also before the first and after the last."""
    length = bucket or timedelta()
    longest = length / 2 if bucket else _usual_distance(measured, period, limit)
    ends = [period.begin, *(one.at + length for one in measured)]
    begins = [*(one.at for one in measured), period.end]
    return [Period(end, begin) for end, begin in zip(ends, begins, strict=True) if begin - end > longest]


def place(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _usual_distance(measured: Sequence[Measured], period: Period, limit: int) -> timedelta:
    span = period.end - period.begin
    if len(measured) < 2:
        return span / 20
    usual = timedelta(seconds=median((later.at - earlier.at).total_seconds() for earlier, later in pairwise(measured)))
    # Of thinned samples each stretch has two, which may stand at its far ends.
    stretches = 2 * span / max(limit // 2, 1) if len(measured) * 3 > limit else timedelta()
    return max(_HOLE_STEPS * usual, stretches, timedelta(seconds=1))


def _runs(measured: Sequence[Measured], holes: Sequence[Period]) -> list[list[Measured]]:
    """What stands between two holes."""
    begins = {hole.end for hole in holes}
    runs: list[list[Measured]] = []
    for one in measured:
        if not runs or one.at in begins:
            runs.append([])
        runs[-1].append(one)
    return runs


def _course(
    run: Sequence[Measured], bucket: timedelta, box: Box, value: Callable[[Measured], float]
) -> list[tuple[float, float]]:
    """Through the middles of buckets, level to the edges of the first and the last."""
    middles = [(box.x(one.at + bucket / 2), box.y(value(one))) for one in run]
    first, last = (box.x(run[0].at), middles[0][1]), (box.x(run[-1].at + bucket), middles[-1][1])
    return [first, *middles, last]


def _area(run: Sequence[Measured], bucket: timedelta, box: Box) -> str:
    highs = _course(run, bucket, box, lambda one: one.high)
    lows = _course(run, bucket, box, lambda one: one.low)
    return _path([*highs, *reversed(lows)]) + "z"


def _samples_out(runs: Sequence[Sequence[Measured]], limits: Limits, box: Box) -> str:
    parts: list[str] = []
    for run in runs:
        outside: list[tuple[float, float]] = []
        for one in run:
            if _beyond(one, limits):
                outside.append((box.x(one.at), box.y(one.value)))
            elif outside:
                parts.append(_path(outside))
                outside = []
        parts.append(_path(outside))
    return "".join(parts)


def _buckets_out(measured: Sequence[Measured], bucket: timedelta, limits: Limits, box: Box) -> str:
    """From the limit to the farthest sample beyond it."""
    return "".join(
        f"M{place(box.x(one.at + bucket / 2))} {place(box.y(edge))}V{place(box.y(farthest))}"
        for one in measured
        for edge, farthest in _beyond(one, limits)
    )


def _beyond(one: Measured, limits: Limits) -> list[tuple[float, float]]:
    low, high = limits
    below = [(low, one.low)] if low is not None and one.low < low else []
    above = [(high, one.high)] if high is not None and one.high > high else []
    return below + above


def _hole(left: float, right: float) -> Hole:
    """Hatched by strokes of 45 degrees."""
    strokes: list[str] = []
    start = left - HEIGHT
    while start < right:
        begin, end = max(start, left), min(start + HEIGHT, right)
        if end > begin:
            strokes.append(
                f"M{place(begin)} {place(HEIGHT - (begin - start))}L{place(end)} {place(HEIGHT - (end - start))}"
            )
        start += _HATCH_STEP
    return Hole(place(left), place(max(right - left, 0.0)), "".join(strokes))


def _path(points: Sequence[tuple[float, float]]) -> str:
    if not points:
        return ""
    drawn = [f"{place(x)} {place(y)}" for x, y in points]
    return f"M{'L'.join(drawn)}" + (_DOT if len(points) == 1 else "")
