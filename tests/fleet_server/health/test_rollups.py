"""A rollup is a function of the set of its samples."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.health import rollups
from fleet_server.health.rollups import Buckets, Level, merged, of_samples, pack_rows, unpack_rows
from fleet_server.health.unpacking import BlockDamaged

BUCKET_MS = Level.FIVE_MINUTES.bucket_ms
VALUES = st.floats(-1e12, 1e12) | st.integers(-100, 100).map(float) | st.decimals(-99, 99, places=3).map(float)
SAMPLE = st.tuples(st.integers(0, 2), st.integers(0, 40 * BUCKET_MS), VALUES)
SAMPLES = st.lists(SAMPLE, min_size=1, max_size=60)


def buckets_of(samples: list[tuple[int, int, float]]) -> Buckets:
    series, at, values = (np.array(column) for column in zip(*samples, strict=True))
    return of_samples(series.astype(np.int64), at.astype(np.int64), values.astype(np.float64), BUCKET_MS)


def told(buckets: Buckets) -> list[tuple[float, ...]]:
    columns = (buckets.series, buckets.at, *buckets.stats)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@settings(max_examples=80)
@given(SAMPLES, st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_order_and_split_of_the_samples_gives_the_same(
    samples: list[tuple[int, int, float]], random: object, pieces: int
) -> None:
    at_once = told(buckets_of(samples))
    shuffled = list(samples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types its Random as an object
    parts = [shuffled[number::pieces] for number in range(pieces)]
    in_pieces = merged([buckets_of(part) for part in parts if part])
    assert told(in_pieces) == at_once


@settings(max_examples=80)
@given(st.lists(SAMPLE, min_size=1, max_size=60), st.integers(1, 7), st.booleans())
def test_it_does_not_matter_how_many_samples_are_summed_at_once(
    samples: list[tuple[int, int, float]], at_once: int, is_sorted: bool
) -> None:
    given_ = sorted(samples) if is_sorted else samples
    usual = told(buckets_of(given_))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollups, "_AT_ONCE", at_once)
        assert told(buckets_of(given_)) == usual


@settings(max_examples=80)
@given(SAMPLES)
def test_each_bucket_tells_the_extremes_the_number_and_the_mean_of_its_samples(
    samples: list[tuple[int, int, float]],
) -> None:
    buckets = buckets_of(samples)
    means = buckets.mean.tolist()
    for place, (series, at, low, high, count, *_) in enumerate(told(buckets)):
        values = [value for of, at_ms, value in samples if (of, at_ms // BUCKET_MS) == (series, at)]
        assert (low, high, count) == (min(values), max(values), len(values))
        exact = sum(map(Fraction, values)) / len(values)
        assert math.isclose(means[place], float(exact), rel_tol=1e-9, abs_tol=1e-6)


@settings(max_examples=40)
@given(SAMPLES)
def test_hours_of_five_minutes_are_the_hours_of_the_samples(samples: list[tuple[int, int, float]]) -> None:
    series, at, values = (np.array(column) for column in zip(*samples, strict=True))
    hours = of_samples(series.astype(np.int64), at.astype(np.int64), values.astype(np.float64), Level.HOUR.bucket_ms)
    assert told(buckets_of(samples).coarser(12)) == told(hours)


@settings(max_examples=40)
@given(SAMPLES)
def test_a_row_comes_out_as_it_went_in(samples: list[tuple[int, int, float]]) -> None:
    buckets = buckets_of([(0, at, value) for _, at, value in samples])
    half = len(buckets) // 2
    (row,) = pack_rows(buckets, [[("a.b", slice(0, half)), ("c", slice(half, len(buckets)))]])
    assert told(unpack_rows([row])["c"]) == told(buckets)[half:]
    assert list(unpack_rows([row], {"c"})) == ["c"]


def test_rows_read_together_say_which_of_them_each_bucket_is_from() -> None:
    first, second = buckets_of([(0, 1, 5.0), (0, BUCKET_MS, 6.0)]), buckets_of([(0, 2 * BUCKET_MS, 7.0)])
    rows = [pack_rows(one, [[(metric, slice(0, len(one)))]])[0] for metric, one in (("a", first), ("b", second))]
    found = unpack_rows([*rows, rows[0]])
    assert {metric: one.series.tolist() for metric, one in found.items()} == {"a": [0, 0, 2, 2], "b": [1]}
    assert told(found["b"]) == [(1.0, *told(second)[0][1:])]


def test_a_damaged_row_is_told() -> None:
    (row,) = pack_rows(buckets_of([(0, 1, 5.0)]), [[("a", slice(0, 1))]])
    with pytest.raises(BlockDamaged, match="expected packed rollups, came 9 other bytes"):
        unpack_rows([row, b"\x02 damaged"])


def test_what_was_not_measured_is_in_no_bucket() -> None:
    nothing = of_samples(np.zeros(2, np.int64), np.zeros(2, np.int64), np.array([np.nan, np.nan]), BUCKET_MS)
    assert (len(nothing), told(merged([nothing, buckets_of([(0, 1, 5.0)])]))) == (
        0,
        [(0, 0, 5.0, 5.0, 1.0, 0.0, 5.0, 0.0)],
    )


@pytest.mark.parametrize("edge", [2.0**16, -(2.0**16)])
@pytest.mark.parametrize("off", [0.0, 1e-6, -1e-6, 0.3])
def test_many_samples_at_the_edge_of_what_is_summed_in_millionths_have_an_exact_mean(edge: float, off: float) -> None:
    values = np.full(70_000, edge + off)
    zeros = np.zeros(len(values), np.int64)
    found = of_samples(zeros, zeros, values, BUCKET_MS)
    millionths = round((edge + off) * 1_000_000) * len(values)
    carried, micro = divmod(millionths, 1_000_000)
    assert told(found) == [(0, 0, edge + off, edge + off, 70_000, *map(float, divmod(carried, 2**30)), float(micro))]
