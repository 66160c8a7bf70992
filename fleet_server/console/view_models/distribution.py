"""The page of a distribution: what can be asked for, and a box line for each model and version.

From the 5th to the 95th of a hundred is the line, the middle half the box, the median the tick; lowest and highest are
in the table only, for one odd device would press all the others together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet_server.console.language import N_
from fleet_server.console.moments import Calendar
from fleet_server.console.view_models.charts import limits
from fleet_server.console.view_models.course_lines import place
from fleet_server.console.view_models.fleet import UNTOLD, Filters
from fleet_server.console.view_models.readings import class_of, metric_title, normal_text, unit_text, value_text
from fleet_server.console.view_models.scales import Scale, mark_text, scale_of
from fleet_server.health.distribution import Distribution, Group, Summary, Version
from fleet_server.health.searching import Comparison, Condition
from protocol.catalogue import metrics
from protocol.catalogue.normal_range import AtLeast, AtMost, NormalRange

WIDTH = 240.0
_TICK = 3.0
VERSIONS: Mapping[Version, str] = {
    Version.FIRMWARE: N_("Firmware of the device"),
    Version.AGENT: N_("Version of the agent"),
}


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    title: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Choices:
    """Metrics of one unit; ``unit`` is empty for states and bare numbers."""

    unit: str
    choices: list[Choice]


@dataclass(frozen=True, slots=True)
class BoxLine:
    """In a box of 240 by 20."""

    band_x: str
    band_width: str
    line_x: str
    line_width: str
    box_x: str
    box_width: str
    tick_x: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    """``numbers``: lowest, 5th, 25th, median, 75th, 95th of a hundred, highest; empty when none is known.
    ``out``: empty where nothing is normal.
    """

    model: str
    version: str
    href: str
    devices: int
    out: str
    out_href: str
    unknown: int
    numbers: list[str]
    line: BoxLine | None
    normal: str


@dataclass(frozen=True, slots=True)
class Shown:
    title: str
    unit: str
    low: str
    high: str
    rows: list[GroupRow]
    devices: int
    groups_left_out: int
    devices_left_out: int


def choices_by_unit(names: Sequence[str], chosen: str, calendar: Calendar) -> list[Choices]:
    by_unit: dict[str, list[Choice]] = {}
    for name in names:
        metric = metrics.get(name)
        unit = "" if metric is None else unit_text(metric, calendar.language)
        by_unit.setdefault(unit, []).append(Choice(name, metric_title(name, calendar.language), name == chosen))
    return [Choices(unit, by_unit[unit]) for unit in sorted(by_unit, key=lambda unit: (unit == "", unit))]


def shown(found: Distribution, kept: Filters, calendar: Calendar) -> Shown:
    """``kept``: conditions that the devices were chosen by; the lists behind the rows keep them."""
    metric = metrics.get(found.metric)
    scale = _scale(found)
    return Shown(
        title=metric_title(found.metric, calendar.language),
        unit="" if metric is None else unit_text(metric, calendar.language),
        low=mark_text(scale.low, calendar.language),
        high=mark_text(scale.high, calendar.language),
        rows=[_row(found, group, scale, kept, calendar) for group in found.groups],
        devices=found.devices,
        groups_left_out=found.groups_left_out,
        devices_left_out=found.devices_left_out,
    )


def _scale(found: Distribution) -> Scale:
    values: list[float] = []
    for group in found.groups:
        if group.summary is not None:
            values += [group.summary.p5, group.summary.p95]
        values += [bound for bound in _bounds(found.metric, group) if bound is not None]
    return scale_of(values or [0.0])


def _row(found: Distribution, group: Group, scale: Scale, kept: Filters, calendar: Calendar) -> GroupRow:
    metric, normal = metrics.get(found.metric), _normal(found.metric, group)
    changed = {"model": group.model or UNTOLD, found.by.value: group.version or UNTOLD}
    beyond = _beyond(found.metric, normal)
    return GroupRow(
        model=group.model,
        version=group.version,
        href=kept.query(**changed),
        devices=group.devices,
        out="" if group.out is None else str(group.out),
        out_href=kept.query(**changed, where=str(beyond)) if group.out and beyond is not None else "",
        unknown=group.unknown,
        numbers=[value_text(found.metric, one, calendar.language) for one in _numbers(group.summary)],
        line=None if group.summary is None else _line(group.summary, limits(normal) or (None, None), scale),
        normal="" if metric is None else normal_text(metric, normal, calendar),
    )


def _numbers(summary: Summary | None) -> list[float]:
    if summary is None:
        return []
    return [summary.low, summary.p5, summary.p25, summary.median, summary.p75, summary.p95, summary.high]


def _normal(metric: str, group: Group) -> NormalRange | None:
    """The one that all its devices have in common."""
    known = metrics.get(metric)
    found = {None if known is None else known.normal(class_of(name)) for name in group.classes}
    return found.pop() if len(found) == 1 else None


def _bounds(metric: str, group: Group) -> tuple[float | None, float | None]:
    return limits(_normal(metric, group)) or (None, None)


def _beyond(metric: str, normal: NormalRange | None) -> Condition | None:
    """What finds the devices that are out of range, if one condition can say it."""
    match normal:
        case AtMost(limit):
            return Condition(metric, Comparison.ABOVE, limit)
        case AtLeast(limit):
            return Condition(metric, Comparison.BELOW, limit)
        case _:
            return None


def _line(summary: Summary, bounds: tuple[float | None, float | None], scale: Scale) -> BoxLine:
    def x(value: float) -> float:
        return scale.place(value) * WIDTH

    low, high = bounds
    begin, end = (0.0 if low is None else x(low)), (WIDTH if high is None else x(high))
    has_band = bounds != (None, None)
    return BoxLine(
        band_x=place(begin),
        band_width=place(max(end - begin, 1.0)) if has_band else "0",
        line_x=place(x(summary.p5)),
        line_width=place(max(x(summary.p95) - x(summary.p5), 1.0)),
        box_x=place(x(summary.p25)),
        box_width=place(max(x(summary.p75) - x(summary.p25), 1.0)),
        tick_x=place(min(max(x(summary.median) - _TICK / 2, 0.0), WIDTH - _TICK)),
    )
