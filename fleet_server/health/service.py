"""Reading health: the newest value of each metric, and the course of some of them as finely as a screen shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import numpy as np
import structlog

from fleet_server.health.folding import levels_of, samples_of
from fleet_server.health.latest import Value, read
from fleet_server.health.number_columns import plain
from fleet_server.health.packing import Floats, Ints
from fleet_server.health.repository import BlockRow, HealthRepository
from fleet_server.health.rollups import Buckets, Level, merged, numbered, unpack_rows
from fleet_server.health.unpacking import unpack_many
from fleet_server.kit.times import from_ms, to_ms, utc_now
from fleet_server.settings import HealthKept

Point = tuple[datetime, Value]
Moment = TypeVar("Moment", int, datetime)
# As many single samples as a chart unpacks; what holds more is drawn from rollups.
MAX_BLOCKS = 2000
MAX_POINTS = 600
# Below it five minutes are too coarse for a screen.
_FEWEST_BUCKETS = 100
# How many buckets of a level are put together at most, before the next one serves.
_log = structlog.get_logger(__name__)
_MOST_TOGETHER = {Level.FIVE_MINUTES: 12, Level.HOUR: 24, Level.DAY: 10_000}


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest sample of a metric; exactly one of ``number`` and ``text`` is set."""

    metric: str
    at: datetime
    number: float | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Extent:
    """What lies in one bucket of a course, beside its mean."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Course:
    """``points``: samples, or means of buckets that begin at their moment; then ``extents`` has one for each."""

    points: list[Point]
    extents: list[Extent]


@dataclass(frozen=True, slots=True)
class Courses:
    """By metric. ``bucket``: how long each is; None: single samples."""

    bucket: timedelta | None
    of: dict[str, Course]


class HealthService:
    def __init__(self, health: HealthRepository, kept: HealthKept | None = None) -> None:
        self._health = health
        self._kept = kept or HealthKept()

    def latest(self, device_id: str) -> list[Newest]:
        """By name of the metric. Whether the device exists is asked of its own service."""
        found = self._health.latest(device_id)
        return [] if found is None else _newest(found)

    def latest_of(self, device_ids: Collection[str]) -> dict[str, list[Newest]]:
        """As `latest`, for the devices of a list; who never reported is missing."""
        return {device_id: _newest(found) for device_id, found in self._health.latest_of(device_ids).items()}

    def range(
        self, device_id: str, metrics: Collection[str], begin: datetime, end: datetime, points: int = MAX_POINTS
    ) -> dict[str, list[Point]]:
        """The points of `course`."""
        return {metric: one.points for metric, one in self.course(device_id, metrics, begin, end, points).of.items()}

    def course(
        self, device_id: str, metrics: Collection[str], begin: datetime, end: datetime, points: int = MAX_POINTS
    ) -> Courses:
        """From ``begin`` (in) to ``end`` (out), at most ``points`` a metric; no metrics means all. Single samples when
        they are few, with texts among them; numbers of the finest rollup that fits and is kept so long otherwise.
        """
        level, together = self._level(begin, end, points)
        if end - begin < _FEWEST_BUCKETS * timedelta(milliseconds=Level.FIVE_MINUTES.bucket_ms):
            blocks = self._health.blocks(device_id, begin, end, MAX_BLOCKS + 1)
            if 0 < len(blocks) <= MAX_BLOCKS:
                return Courses(None, _samples(blocks, frozenset(metrics), begin, end, points))
        found = self.buckets(device_id, frozenset(metrics), level, begin, end)
        return Courses(
            timedelta(milliseconds=level.bucket_ms * together),
            {metric: _course(one.coarser(together), level.bucket_ms * together) for metric, one in found.items()},
        )

    def _level(self, begin: datetime, end: datetime, points: int) -> tuple[Level, int]:
        """The level, and how many of its buckets make one of the course."""
        span_ms = max(1, to_ms(end) - to_ms(begin))
        now = utc_now()
        for level in Level:
            together = -(-span_ms // (level.bucket_ms * max(1, points - 1)))
            kept_days = kept_days_of(self._kept, level)
            is_kept = kept_days == 0 or begin >= now - timedelta(days=kept_days)
            if level is Level.DAY or (together < _MOST_TOGETHER[level] and is_kept):
                return level, together
        raise AssertionError("days serve every range")

    def buckets(
        self, device_id: str, metrics: frozenset[str], level: Level, begin: datetime, end: datetime
    ) -> dict[str, Buckets]:
        """All of a level that lie in the range, also in part; what is in no rollup yet with them."""
        found = self._health.rolled_up(device_id, level, begin, end)
        parts: dict[str, list[Buckets]] = {}
        for metric, rows in unpack_rows(found.rows, metrics or None).items():
            parts[metric] = [numbered(rows, 0)]
        fresh = samples_of(((device_id, block) for block in found.unfolded), metrics or None)
        buckets = levels_of(fresh)[level]
        for number, (_, metric) in enumerate(fresh.names):
            parts.setdefault(metric, []).append(numbered(buckets.where(buckets.series == number), 0))
        first, last = to_ms(begin) // level.bucket_ms, (to_ms(end) - 1) // level.bucket_ms
        courses = {metric: merged(pieces) for metric, pieces in sorted(parts.items())}
        return {metric: one.where((one.at >= first) & (one.at <= last)) for metric, one in courses.items()}


def _newest(latest: str) -> list[Newest]:
    return [Newest(metric, one.at, one.number, one.text) for metric, one in sorted(read(latest).items())]


def kept_days_of(kept: HealthKept, level: Level) -> int:
    match level:
        case Level.FIVE_MINUTES:
            return kept.five_minutes_days
        case Level.HOUR:
            return kept.hours_days
        case Level.DAY:
            return kept.days_days


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


def ends_of(values: Floats, limit: int) -> Ints:
    """The places that `thinned` keeps of numbers."""
    if len(values) <= limit:
        return np.arange(len(values))
    stretches = max(1, limit // 2)
    starts = np.arange(stretches) * len(values) // stretches
    stretch = np.repeat(np.arange(stretches), np.diff([*starts.tolist(), len(values)]))
    places = []
    for extreme in (np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)):
        reached = np.flatnonzero(values == extreme[stretch])
        places.append(reached[np.unique(stretch[reached], return_index=True)[1]])
    return np.unique(np.concatenate(places))


def _samples(
    blocks: Sequence[BlockRow], metrics: frozenset[str], begin: datetime, end: datetime, points: int
) -> dict[str, Course]:
    begin_ms, end_ms = to_ms(begin), to_ms(end)
    found = unpack_many([block.columns for block in blocks], metrics or None)
    for place in found.damaged:
        _log.error("a block of samples is damaged", start_at=blocks[place].start_at)
    start_ms = np.array([to_ms(block.start_at) for block in blocks], dtype=np.int64)
    step_ms = np.array([block.step_ms for block in blocks], dtype=np.int64)
    odd: dict[str, list[tuple[int, Value]]] = defaultdict(list)
    for place, metric, column in found.odd:
        first_ms, step = int(start_ms[place]), int(step_ms[place])
        placed = ((first_ms + number * step, value) for number, value in enumerate(column))
        odd[metric] += [(at, value) for at, value in placed if value is not None and begin_ms <= at < end_ms]
    courses: dict[str, Course] = {}
    for metric in sorted({*found.numbers, *odd}):
        at_ms, values = np.empty(0, dtype=np.int64), np.empty(0)
        if metric in found.numbers:
            numbers = found.numbers[metric]
            at_ms, values = numbers.spread(start_ms) + numbers.places * numbers.spread(step_ms), numbers.values
            is_wanted = ~np.isnan(values) & (at_ms >= begin_ms) & (at_ms < end_ms)
            at_ms, values = at_ms[is_wanted], values[is_wanted]
        courses[metric] = _drawn(at_ms, values, odd.get(metric, []), points)
    return courses


def _drawn(at_ms: Ints, values: Floats, odd: Sequence[tuple[int, Value]], points: int) -> Course:
    if not odd:
        order = np.argsort(at_ms, kind="stable")
        kept = order[ends_of(values[order], points)]
        at_ms, values = at_ms[kept], values[kept]
    together = [*zip(at_ms.tolist(), map(plain, values.tolist()), strict=True), *odd]
    ordered = sorted(together, key=lambda one: one[0])
    return Course([(from_ms(at), value) for at, value in thinned(ordered, points)], [])


def _course(buckets: Buckets, bucket_ms: int) -> Course:
    moments = (buckets.at * bucket_ms).tolist()
    columns = (buckets.low.tolist(), buckets.high.tolist(), buckets.count.tolist())
    return Course(
        [(from_ms(at), mean) for at, mean in zip(moments, buckets.mean.tolist(), strict=True)],
        [Extent(low, high, int(count)) for low, high, count in zip(*columns, strict=True)],
    )


def _height(point: tuple[Moment, Value]) -> float:
    return 0.0 if isinstance(point[1], str) else float(point[1])
