"""Reading health: the newest value of each metric, and the course of some of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from fleet_server.health.blocks import unpack
from fleet_server.health.models import HealthBlock, LatestValue
from fleet_server.health.repository import HealthRepository

Value = float | int | str
Point = tuple[datetime, Value]
# A day of one-minute blocks, or weeks of half-hour ones.
MAX_BLOCKS = 2000
MAX_POINTS = 500


class HealthService:
    def __init__(self, health: HealthRepository) -> None:
        self._health = health

    def latest(self, device_id: str) -> Sequence[LatestValue]:
        """By name of the metric. Whether the device exists is asked of its own service."""
        return self._health.latest(device_id)

    def range(
        self, device_id: str, metrics: Collection[str], begin: datetime, end: datetime, points: int = MAX_POINTS
    ) -> dict[str, list[Point]]:
        """Samples from ``begin`` (in) to ``end`` (out), thinned to ``points``; no metrics means all."""
        series: dict[str, list[Point]] = {}
        for block in self._health.blocks(device_id, begin, end, MAX_BLOCKS):
            for metric, values in unpack(block.columns).items():
                if not metrics or metric in metrics:
                    series.setdefault(metric, []).extend(_samples(block, values, begin, end))
        return {metric: thinned(sorted(found, key=lambda one: one[0]), points) for metric, found in series.items()}


def thinned(points: Sequence[Point], limit: int) -> list[Point]:
    """At most ``limit``: of each stretch its first lowest and first highest, so that no peak is lost."""
    if len(points) <= limit:
        return list(points)
    stretches = max(1, limit // 2)
    kept: list[Point] = []
    for number in range(stretches):
        stretch = points[number * len(points) // stretches : (number + 1) * len(points) // stretches]
        numbers = [one for one in stretch if not isinstance(one[1], str)]
        if numbers:
            ends = {min(numbers, key=_height), max(numbers, key=_height)}
            kept.extend(sorted(ends, key=lambda one: one[0]))
        else:
            kept.extend(stretch[-1:])
    return kept


def _samples(block: HealthBlock, values: Sequence[Value | None], begin: datetime, end: datetime) -> list[Point]:
    step = timedelta(milliseconds=block.step_ms)
    moments = (block.start_at + number * step for number in range(len(values)))
    return [(at, value) for at, value in zip(moments, values, strict=True) if value is not None and begin <= at < end]


def _height(point: Point) -> float:
    return 0.0 if isinstance(point[1], str) else float(point[1])
