"""Rollups of samples: lowest, highest, how many and their mean, in buckets of five minutes, an hour and a day (UTC).

A sum is kept in three whole numbers, of units of 2**30, of one and of a millionth, because adding those is exact: so a
bucket is a function of the set of its samples, in whatever order and pieces they come. Each sample is rounded to a
millionth for its part in the mean; lowest and highest are the samples themselves.

A row holds what a device has in one span of 288 buckets. Pure: arrays in, arrays out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final

import numpy as np

from fleet_server.health.packing import Floats, Ints, pack_many
from fleet_server.health.unpacking import BlockDamaged, Column, unpack_many

SPAN_BUCKETS: Final = 288
_GIGA: Final = 2.0**30
_MILLION: Final = 1e6
# Beyond it the sum of a day of seconds might not be exact.
_LARGEST: Final = 2.0**62
# Samples summed at once stay in the processor's cache; and twice as many small ones have no more than 2**32 units, of
# which a division by a million still tells the last millionth.
_AT_ONCE: Final = 2**15
_SMALL: Final = 2.0**16
Stats = tuple[Floats, Floats, Floats, Floats, Floats, Floats]
_STATS = ("at", "low", "high", "count", "giga", "whole", "micro")


class Level(Enum):
    """By the length of a bucket in milliseconds."""

    FIVE_MINUTES = 300_000
    HOUR = 3_600_000
    DAY = 86_400_000

    @property
    def bucket_ms(self) -> int:
        return self.value

    @property
    def span_ms(self) -> int:
        return self.value * SPAN_BUCKETS


@dataclass(frozen=True, slots=True)
class Buckets:
    """One entry each a bucket: ``series`` numbers a metric of a device, ``at`` the bucket from 1970 on. In the order of
    both, none twice.
    """

    series: Ints
    at: Ints
    low: Floats
    high: Floats
    count: Floats
    giga: Floats
    whole: Floats
    micro: Floats

    def __len__(self) -> int:
        return len(self.at)

    @property
    def mean(self) -> Floats:
        return (self.giga * _GIGA + self.whole + self.micro / _MILLION) / self.count

    def where(self, is_wanted: np.typing.NDArray[np.bool_]) -> Buckets:
        return Buckets(self.series[is_wanted], self.at[is_wanted], *(stat[is_wanted] for stat in self.stats))

    def coarser(self, factor: int) -> Buckets:
        """Buckets ``factor`` times as long."""
        return _summed(self.series, self.at // factor, self.stats)

    @property
    def stats(self) -> Stats:
        return self.low, self.high, self.count, self.giga, self.whole, self.micro


def of_samples(series: Ints, at_ms: Ints, values: Floats, bucket_ms: int) -> Buckets:
    """What was not measured (NaN) is left out."""
    is_there = ~np.isnan(values)
    if not is_there.all():
        series, at_ms, values = series[is_there], at_ms[is_there], values[is_there]
    at = at_ms // bucket_ms
    if not len(values):
        return Buckets(series, at, *[values] * 6)
    pieces = [slice(begin, end) for begin, end in pairwise(_cuts(series, at))]
    return merged([_of_few(series[few], at[few], values[few]) for few in pieces])


def _cuts(series: Ints, at: Ints) -> list[int]:
    """Where pieces begin, and the end of the last: where a bucket does, so that mostly nothing is left to be summed."""
    ends = np.append(_changes(series, at)[1:], len(at))
    even = np.arange(_AT_ONCE, len(at), _AT_ONCE)
    near = ends[np.searchsorted(ends, even)]
    # A bucket of very many samples is cut all the same: see `_AT_ONCE`.
    cuts = np.where(near - even < _AT_ONCE, near, even)
    return sorted({0, *cuts.tolist(), len(at)})


def _of_few(series: Ints, at: Ints, values: Floats) -> Buckets:
    """Neighbours of the same bucket are summed."""
    starts = _changes(series, at)
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    count = np.diff(starts, append=len(values)).astype(np.float64)
    if low.min() >= -_SMALL and high.max() <= _SMALL:
        micro = np.add.reduceat(np.rint(values * _MILLION), starts)
        none = np.zeros(len(starts))
        sums = _carried(none, none, micro)
    else:
        giga, whole, micro = (np.add.reduceat(one, starts) for one in _split(values))
        sums = _carried(giga, whole, micro)
    return Buckets(series[starts], at[starts], low, high, count, *sums)


def _split(values: Floats) -> tuple[Floats, Floats, Floats]:
    """The three numbers of each sample."""
    # Small ones are rounded as where all are small, or a bucket would depend on its neighbours.
    is_large = np.abs(values) > _SMALL
    large = np.where(is_large, np.clip(values, -_LARGEST, _LARGEST), 0.0)
    giga = np.floor(large / _GIGA)
    rest = large - giga * _GIGA
    whole = np.floor(rest)
    micro = np.rint((rest - whole) * _MILLION)
    return giga, whole, np.where(is_large, micro, np.rint(np.clip(values, -_SMALL, _SMALL) * _MILLION))


def _carried(giga: Floats, whole: Floats, micro: Floats) -> tuple[Floats, Floats, Floats]:
    """The same sum, in its one way of writing: below a million millionths, below 2**30 units."""
    carried = np.floor(micro / _MILLION)
    together = whole + carried
    carried_on = np.floor(together / _GIGA)
    return giga + carried_on, together - carried_on * _GIGA, micro - carried * _MILLION


def _changes(series: Ints, at: Ints) -> Ints:
    """Where a bucket begins that is not the one before."""
    return np.flatnonzero(np.concatenate(([True], (series[1:] != series[:-1]) | (at[1:] != at[:-1]))))


def merged(parts: Sequence[Buckets]) -> Buckets:
    series = np.concatenate([part.series for part in parts])
    at = np.concatenate([part.at for part in parts])
    low, high, count, giga, whole, micro = map(np.concatenate, zip(*(part.stats for part in parts), strict=True))
    return _summed(series, at, (low, high, count, giga, whole, micro))


def pack_rows(buckets: Buckets, rows: Sequence[Sequence[tuple[str, slice]]]) -> list[bytes]:
    """One block a row: of each of its metrics the buckets that the slice cuts out."""
    values: list[Floats] = []
    names: list[tuple[str, ...]] = []
    stats = (buckets.at, *buckets.stats[:-1], buckets.micro / _MILLION)
    for row in rows:
        names.append(tuple(f"{metric}:{stat}" for metric, _ in row for stat in _STATS))
        values += [stat[piece].astype(np.float64) for _, piece in row for stat in stats]
    lengths = np.array([len(one) for one in values], dtype=np.int64)
    flat = np.concatenate(values) if values else np.empty(0)
    return pack_many(flat, lengths, [(each, {}) for each in names])


def unpack_rows(rows: Sequence[bytes], wanted: Collection[str] | None = None) -> dict[str, Buckets]:
    """By metric; the series is the place of the row. Raises ``BlockDamaged``."""
    names = None if wanted is None else {f"{metric}:{stat}" for metric in wanted for stat in _STATS}
    found = unpack_many(rows, names)
    if found.damaged:
        raise BlockDamaged(f"expected packed rollups, came {len(rows[found.damaged[0]])} other bytes")
    return {metric: _bucket_columns(found.numbers, metric) for metric in _metrics_of(found.numbers)}


def numbered(buckets: Buckets, series: int) -> Buckets:
    """The same of another series."""
    return Buckets(np.full(len(buckets), series, dtype=np.int64), buckets.at, *buckets.stats)


def _metrics_of(names: Iterable[str]) -> list[str]:
    return [name.removesuffix(":at") for name in names if name.endswith(":at")]


def _bucket_columns(found: Mapping[str, Column], metric: str) -> Buckets:
    at = found[f"{metric}:at"]
    low, high, count, giga, whole, micro = (found[f"{metric}:{stat}"].values for stat in _STATS[1:])
    series = np.repeat(at.blocks, at.lengths)
    return Buckets(series, at.values.astype(np.int64), low, high, count, giga, whole, np.rint(micro * _MILLION))


def _summed(series: Ints, at: Ints, stats: Stats) -> Buckets:
    """Entries of the same bucket become one, in the order of series and time."""
    order = _order_of(series, at)
    if order is Order.ASCENDING:
        return Buckets(series, at, *stats)
    if order is Order.NEIGHBOURS:
        return _neighbours_summed(series, at, stats)
    # Runs that are in order each, as rollups are, sort in little more than one pass by one key.
    begin, length = int(at.min()), int(at.max()) - int(at.min()) + 1
    by_key = np.argsort(series * length + (at - begin), kind="stable")
    low, high, count, giga, whole, micro = (stat[by_key] for stat in stats)
    return _neighbours_summed(series[by_key], at[by_key], (low, high, count, giga, whole, micro))


class Order(Enum):
    """How entries lie: by series and time, none twice; the same with equal ones side by side; anyhow."""

    ASCENDING = 1
    NEIGHBOURS = 2
    NONE = 3


def _order_of(series: Ints, at: Ints) -> Order:
    same = series[1:] == series[:-1]
    later = series[1:] > series[:-1]
    if bool((later | (same & (at[1:] > at[:-1]))).all()):
        return Order.ASCENDING
    return Order.NEIGHBOURS if bool((later | (same & (at[1:] >= at[:-1]))).all()) else Order.NONE


def _neighbours_summed(series: Ints, at: Ints, stats: Stats) -> Buckets:
    if not len(at):
        return Buckets(series, at, *stats)
    starts = _changes(series, at)
    low, high, count, giga, whole, micro = stats
    return Buckets(
        series[starts],
        at[starts],
        np.minimum.reduceat(low, starts),
        np.maximum.reduceat(high, starts),
        np.add.reduceat(count, starts),
        *_carried(np.add.reduceat(giga, starts), np.add.reduceat(whole, starts), np.add.reduceat(micro, starts)),
    )
