"""HTTP shapes of health: a metric with its words, unit and normal range, its newest value and its course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from fleet_server.health.models import LatestValue
from fleet_server.health.service import Point
from fleet_server.kit.schemas import Answer, Moment, Words
from protocol.catalogue import metrics
from protocol.catalogue.vocabulary import TerminalClass

_CLASSES = {one.value: one for one in TerminalClass}
PointRead = tuple[Moment, float | int | str]


class MetricRead(Answer):
    """``judgement``: in_range, below, above, outside or unknown, by the normal range of the device's class."""

    metric: str
    title: Words
    unit: str
    normal: str | None
    value: float | int | str | None
    at: Moment | None
    judgement: str
    points: list[PointRead]


def metric_reads(
    latest: Sequence[LatestValue], course: Mapping[str, Sequence[Point]], terminal_class: str, wanted: Sequence[str]
) -> list[MetricRead]:
    """One for each metric that has a value, by name."""
    newest: dict[str, tuple[datetime, float | str | None]] = {
        row.metric: (row.at, row.text if row.number is None else row.number) for row in latest
    }
    names = sorted(name for name in {*newest, *course} if not wanted or name in wanted)
    return [_read(name, newest.get(name), course.get(name, ()), terminal_class) for name in names]


def _read(
    name: str, newest: tuple[datetime, float | str | None] | None, points: Sequence[Point], terminal_class: str
) -> MetricRead:
    known, of_class = metrics.get(name), _CLASSES[terminal_class]
    at, value = newest or (None, None)
    return MetricRead(
        metric=name,
        title=Words(zh=name, en=name) if known is None else Words(zh=known.title_zh, en=known.title_en),
        unit="" if known is None else known.unit,
        normal=None if known is None else known.normal_text.get(of_class),
        value=value,
        at=at,
        judgement="unknown" if known is None else known.judge(value, of_class).value,
        points=list(points),
    )
