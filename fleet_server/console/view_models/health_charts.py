"""The chart page of a device: what can be chosen, and each chosen metric as a chart with its table.

Only what was reported as a number is drawn. Numbers that mean "not known" are holes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from fleet_server.console.moments import Calendar, Moment
from fleet_server.console.view_models.charts import Period, limits
from fleet_server.console.view_models.codes import CodeText, code_text
from fleet_server.console.view_models.course_lines import HEIGHT, WIDTH, Box, Lines, Measured, lines_of, place
from fleet_server.console.view_models.course_range import SPANS, Chosen
from fleet_server.console.view_models.readings import (
    Latest,
    Reading,
    class_of,
    metric_title,
    report,
    unit_text,
    value_text,
)
from fleet_server.console.view_models.scales import mark_text, moments_of, scale_of
from fleet_server.faults.models import Fault
from fleet_server.health.service import Course
from protocol.catalogue import metrics

# So many buckets make quarters of an hour of a day, two hours of a week and six hours of a month.
POINTS = 121
MAX_CHARTS = 8
USUAL_CHARTS = 4
# A word at the edge of the box would be cut.
_EDGE = 14.0


@dataclass(frozen=True, slots=True)
class Option:
    metric: str
    title: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Options:
    """Those of one unit; ``unit`` is empty for states and bare numbers."""

    unit: str
    options: list[Option]


@dataclass(frozen=True, slots=True)
class SpanLink:
    words: str  # source text
    href: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class FaultMark:
    """From ``x`` on, as wide as it lasted within the period."""

    x: str
    width: str
    has_begun: bool  # within the period
    code: CodeText
    raised: Moment | None
    cleared: Moment | None


@dataclass(frozen=True, slots=True)
class Row:
    at: str
    value: str
    low: str
    high: str
    count: int


@dataclass(frozen=True, slots=True)
class Chart:
    """``now``: its newest value; None when it has none. ``y_marks``, ``x_marks``: places and words."""

    metric: str
    title: str
    unit: str
    normal: str
    now: Reading | None
    band_y: str
    band_height: str
    edges: list[str]
    y_marks: list[tuple[str, str]]
    x_marks: list[tuple[str, str]]
    lines: Lines | None
    lowest: str
    highest: str
    is_bucketed: bool
    rows: list[Row]

    @property
    def slug(self) -> str:
        return self.metric.replace(".", "-")


@dataclass(frozen=True, slots=True)
class Drawing:
    """What all charts of a page have in common."""

    period: Period
    bucket: timedelta | None
    terminal_class: str
    calendar: Calendar


def numbers_by_urgency(latest: Sequence[Latest], terminal_class: str, calendar: Calendar) -> list[Reading]:
    """What can be drawn: out of range first, then what is asked for first."""
    found = report([row for row in latest if row.number is not None], {}, terminal_class, calendar, is_whole=True)
    return found.shown


def chosen_metrics(wanted: Sequence[str], readings: Sequence[Reading]) -> list[str]:
    """In the order of the address; the first few when none of them is reported."""
    known = {reading.metric for reading in readings}
    kept = [name for name in dict.fromkeys(wanted) if name in known][:MAX_CHARTS]
    return kept or [reading.metric for reading in readings[:USUAL_CHARTS]]


def options_by_unit(readings: Sequence[Reading], chosen: Collection[str]) -> list[Options]:
    by_unit: dict[str, list[Option]] = {}
    for reading in sorted(readings, key=lambda one: one.metric):
        option = Option(reading.metric, reading.title, reading.metric in chosen)
        by_unit.setdefault(reading.unit, []).append(option)
    # Those without a unit come last: they are the ones that explain themselves least.
    return [Options(unit, by_unit[unit]) for unit in sorted(by_unit, key=lambda unit: (unit == "", unit))]


def span_links(address: str, chosen: Chosen, names: Sequence[str]) -> list[SpanLink]:
    return [
        SpanLink(words, f"{address}?{urlencode([('span', key), *(('m', name) for name in names)])}", key == chosen.span)
        for key, (_, words) in SPANS.items()
    ]


def export_query(names: Sequence[str], period: Period) -> str:
    times = [("from", period.begin.isoformat()), ("to", period.end.isoformat())]
    return urlencode([*times, *(("m", name) for name in names)])


def fault_marks(faults: Sequence[Fault], period: Period, calendar: Calendar) -> list[FaultMark]:
    made: list[FaultMark] = []
    for fault in faults:
        left = period.place(fault.raised_at) * WIDTH
        right = period.place(fault.cleared_at or period.end) * WIDTH
        made.append(
            FaultMark(
                x=place(left),
                width=place(max(right - left, 1.0)),
                has_begun=fault.raised_at >= period.begin,
                code=code_text(fault.code, calendar.language),
                raised=calendar.at(fault.raised_at),
                cleared=calendar.at(fault.cleared_at),
            )
        )
    return made


def chart_of(name: str, course: Course | None, now: Reading | None, drawing: Drawing) -> Chart:
    metric, calendar = metrics.get(name), drawing.calendar
    normal = None if metric is None else metric.normal(class_of(drawing.terminal_class))
    measured = _measured(course, () if metric is None else metric.unknown_values)
    bounds = limits(normal) or (None, None)
    values = [*(one.low for one in measured), *(one.high for one in measured)]
    scale = scale_of([*values, *(bound for bound in bounds if bound is not None)] or [0.0])
    box = Box(drawing.period, scale)
    top, bottom = (0.0 if bounds[1] is None else box.y(bounds[1])), (HEIGHT if bounds[0] is None else box.y(bounds[0]))
    has_band = bounds != (None, None)
    return Chart(
        metric=name,
        title=metric_title(name, calendar.language),
        unit="" if metric is None else unit_text(metric, calendar.language),
        normal="" if now is None else now.normal,
        now=now,
        band_y=place(top) if has_band else "0",
        band_height=place(max(bottom - top, 0.0)) if has_band else "0",
        edges=[place(box.y(bound)) for bound in bounds if bound is not None],
        y_marks=[(place(box.y(mark)), mark_text(mark, calendar.language)) for mark in scale.marks],
        x_marks=_x_marks(drawing),
        lines=lines_of(measured, drawing.bucket, bounds, box, POINTS) if measured else None,
        lowest=value_text(name, min(values), calendar.language) if values else "",
        highest=value_text(name, max(values), calendar.language) if values else "",
        is_bucketed=drawing.bucket is not None,
        rows=_rows(name, measured, drawing),
    )


def _measured(course: Course | None, unknown: Collection[float]) -> list[Measured]:
    if course is None:
        return []
    if course.extents:
        pairs = zip(course.points, course.extents, strict=True)
        return [Measured(at, float(mean), one.low, one.high, one.count) for (at, mean), one in pairs]
    numbers = [(at, float(value)) for at, value in course.points if not isinstance(value, str)]
    return [Measured(at, value, value, value) for at, value in numbers if value not in unknown]


def _x_marks(drawing: Drawing) -> list[tuple[str, str]]:
    placed = [(drawing.period.place(at) * WIDTH, words) for at, words in moments_of(drawing.period, drawing.calendar)]
    return [(place(x), words) for x, words in placed if _EDGE <= x <= WIDTH - _EDGE]


def _rows(name: str, measured: Sequence[Measured], drawing: Drawing) -> list[Row]:
    calendar = drawing.calendar
    begin, end = (moment.astimezone(calendar.zone).date() for moment in (drawing.period.begin, drawing.period.end))

    def when(at: datetime) -> str:
        clock = calendar.clock(at) if drawing.bucket is None else calendar.hour_minute(at)
        return clock if begin == end else f"{calendar.month_day(at)} {clock}"

    def words(value: float) -> str:
        return value_text(name, value, calendar.language)

    return [Row(when(one.at), words(one.value), words(one.low), words(one.high), one.count) for one in measured]
