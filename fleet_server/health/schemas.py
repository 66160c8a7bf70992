"""HTTP shapes of health: a metric with its words, unit and normal range, its newest value and its course."""

from __future__ import annotations

from collections.abc import Sequence

from fleet_server.health.distribution import Distribution, Group
from fleet_server.health.service import Courses, Newest
from fleet_server.kit.schemas import Answer, Moment, Words
from protocol.catalogue import metrics
from protocol.catalogue.vocabulary import TerminalClass

_CLASSES = {one.value: one for one in TerminalClass}
PointRead = tuple[Moment, float | int | str]
ExtentRead = tuple[float, float, int]


class MetricRead(Answer):
    """``judgement``: in_range, below, above, outside or unknown, by the normal range of the device's class.

    ``points``: single samples; or, with ``bucket_s``, means of buckets of that length that begin at their moment, each
    with its lowest and highest sample and how many there were in ``extents``.
    """

    metric: str
    title: Words
    unit: str
    normal: str | None
    value: float | int | str | None
    at: Moment | None
    judgement: str
    points: list[PointRead]
    bucket_s: float | None
    extents: list[ExtentRead]


def metric_reads(
    latest: Sequence[Newest], courses: Courses, terminal_class: str, wanted: Sequence[str]
) -> list[MetricRead]:
    """One for each metric that has a value, by name."""
    newest = {row.metric: row for row in latest}
    names = sorted(name for name in {*newest, *courses.of} if not wanted or name in wanted)
    return [_read(name, newest.get(name), courses, terminal_class) for name in names]


def _read(name: str, newest: Newest | None, courses: Courses, terminal_class: str) -> MetricRead:
    known, of_class = metrics.get(name), _CLASSES[terminal_class]
    value = None if newest is None else newest.text if newest.number is None else newest.number
    course = courses.of.get(name)
    return MetricRead(
        metric=name,
        title=title_of(name),
        unit="" if known is None else known.unit,
        normal=None if known is None else known.normal_text.get(of_class),
        value=value,
        at=None if newest is None else newest.at,
        judgement="unknown" if known is None else known.judge(value, of_class).value,
        points=[] if course is None else course.points,
        bucket_s=None if courses.bucket is None else courses.bucket.total_seconds(),
        extents=[] if course is None else [(one.low, one.high, one.count) for one in course.extents],
    )


class GroupRead(Answer):
    """Devices of one model and version. ``normal``: by class of terminal; ``out_of_range``: null where nothing is
    normal; ``not_known``: how many say that they do not know. Quantiles are of the others, null if there are none.
    """

    model: str
    version: str
    devices: int
    out_of_range: int | None
    not_known: int
    min: float | None
    p5: float | None
    p25: float | None
    median: float | None
    p75: float | None
    p95: float | None
    max: float | None
    normal: dict[str, str | None]


class DistributionRead(Answer):
    """``groups``: those of most devices first; what is beyond their limit is told in ``groups_left_out`` (at least so
    many) and ``devices_left_out``.
    """

    metric: str
    title: Words
    unit: str
    by: str
    devices: int
    groups: list[GroupRead]
    groups_left_out: int
    devices_left_out: int


def distribution_read(found: Distribution) -> DistributionRead:
    known = metrics.get(found.metric)
    return DistributionRead(
        metric=found.metric,
        title=title_of(found.metric),
        unit="" if known is None else known.unit,
        by=found.by.value,
        devices=found.devices,
        groups=[_group_read(found.metric, group) for group in found.groups],
        groups_left_out=found.groups_left_out,
        devices_left_out=found.devices_left_out,
    )


def title_of(metric: str) -> Words:
    known = metrics.get(metric)
    return Words(zh=metric, en=metric) if known is None else Words(zh=known.title_zh, en=known.title_en)


def _group_read(metric: str, group: Group) -> GroupRead:
    known, summary = metrics.get(metric), group.summary
    return GroupRead(
        model=group.model,
        version=group.version,
        devices=group.devices,
        out_of_range=group.out,
        not_known=group.unknown,
        min=None if summary is None else summary.low,
        p5=None if summary is None else summary.p5,
        p25=None if summary is None else summary.p25,
        median=None if summary is None else summary.median,
        p75=None if summary is None else summary.p75,
        p95=None if summary is None else summary.p95,
        max=None if summary is None else summary.high,
        normal={one: None if known is None else known.normal_text.get(_CLASSES[one]) for one in group.classes},
    )
