"""Reading health: the newest value of each metric, and the course of some of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeVar

from fleet_server.health.blocks import unpack
from fleet_server.health.models import LatestValue
from fleet_server.health.repository import HealthRepository
from fleet_server.kit.times import from_ms, to_ms

Value = float | int | str
Point = tuple[datetime, Value]
Moment = TypeVar("Moment", int, datetime)
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
        begin_ms, end_ms = to_ms(begin), to_ms(end)
        series: dict[str, list[tuple[int, Value]]] = {}
        for block in self._health.blocks(device_id, begin, end, MAX_BLOCKS):
            start_ms, step_ms = to_ms(block.start_at), block.step_ms
            for metric, values in unpack(block.columns).items():
                if metrics and metric not in metrics:
                    continue
                found = series.setdefault(metric, [])
                for number, value in enumerate(values):
                    at_ms = start_ms + number * step_ms
                    if value is not None and begin_ms <= at_ms < end_ms:
                        found.append((at_ms, value))
        return {metric: _moments(thinned(sorted(found, key=_moment), points)) for metric, found in series.items()}


def thinned(points: Sequence[tuple[Moment, Value]], limit: int) -> list[tuple[Moment, Value]]:
    """At most ``limit``: of each stretch its first lowest and first highest, so that no peak is lost."""
    if len(points) <= limit:
        return list(points)
    stretches = max(1, limit // 2)
    kept: list[tuple[Moment, Value]] = []
    for number in range(stretches):
        stretch = points[number * len(points) // stretches : (number + 1) * len(points) // stretches]
        numbers = [one for one in stretch if not isinstance(one[1], str)]
        if numbers:
            ends = {min(numbers, key=_height), max(numbers, key=_height)}
            kept.extend(sorted(ends, key=lambda one: one[0]))
        else:
            kept.extend(stretch[-1:])
    return kept


def _moments(points: Sequence[tuple[int, Value]]) -> list[Point]:
    return [(from_ms(at_ms), value) for at_ms, value in points]


def _moment(point: tuple[int, Value]) -> int:
    return point[0]


def _height(point: tuple[Moment, Value]) -> float:
    return 0.0 if isinstance(point[1], str) else float(point[1])
