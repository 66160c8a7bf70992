"""HTTP shapes of health: a metric with its words, unit and normal range, its newest value and its course."""

from __future__ import annotations

from collections.abc import Sequence

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
        title=Words(zh=name, en=name) if known is None else Words(zh=known.title_zh, en=known.title_en),
        unit="" if known is None else known.unit,
        normal=None if known is None else known.normal_text.get(of_class),
        value=value,
        at=None if newest is None else newest.at,
        judgement="unknown" if known is None else known.judge(value, of_class).value,
        points=[] if course is None else course.points,
        bucket_s=None if courses.bucket is None else courses.bucket.total_seconds(),
        extents=[] if course is None else [(one.low, one.high, one.count) for one in course.extents],
    )
