from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.catalogue import metrics
from protocol.catalogue.normal_range import AtLeast, AtMost, Between, NormalRange, OneOf
from protocol.catalogue.sides import BACK_AFTER_MS, Side, follow
from protocol.catalogue.vocabulary import TerminalClass

RANGES: list[NormalRange] = [AtMost(80), AtLeast(-105), Between(10, 30), AtMost(0)]
Series = list[tuple[int, float | None]]
# Gaps in milliseconds and values on both sides of every limit above.
series = st.lists(st.tuples(st.integers(1, 40_000), st.none() | st.floats(-200, 200)), min_size=1, max_size=40)


def sides_of(normal: NormalRange, steps: Series) -> list[tuple[int, bool, Side | None]]:
    """Moment, whether the sample was outside, and the side after it."""
    at_ms, side = 0, None
    found = []
    for gap_ms, value in steps:
        at_ms += gap_ms
        side = follow(side, normal, value, at_ms)
        found.append((at_ms, normal.judge(value).is_abnormal, side))
    return found


def test_number_that_swings_far_across_its_limit_is_told_once() -> None:
    sides = [side for _, _, side in sides_of(AtMost(80), [(5_000, 40), *[(5_000, 100), (5_000, 30)] * 50])]
    changes = [b.is_abnormal for a, b in pairwise(sides) if a and b and a.is_abnormal != b.is_abnormal]
    assert changes == [True]


@pytest.mark.parametrize(
    ("normal", "inside", "near", "far"), [(AtMost(80), 79, 82, 84), (Between(10, 30), 29, 30.5, 31)]
)
def test_number_plainly_outside_is_told_at_once_and_one_just_outside_at_its_second_sample(
    normal: NormalRange, inside: float, near: float, far: float
) -> None:
    well = follow(None, normal, inside, 0)
    assert follow(well, normal, far, 1_000) == Side(is_abnormal=True)
    doubtful = follow(well, normal, near, 1_000)
    assert doubtful == Side(is_abnormal=False, crossed_ms=1_000)
    assert follow(doubtful, normal, near, 2_000) == Side(is_abnormal=True)
    assert follow(doubtful, normal, inside, 2_000) == Side(is_abnormal=False)


def test_state_changes_sides_at_once_both_ways() -> None:
    normal = OneOf(("ok", "paper_near"))
    out = follow(follow(None, normal, "ok", 0), normal, "paper_out", 1)
    assert out == Side(is_abnormal=True)
    assert follow(out, normal, "ok", 2) == Side(is_abnormal=False)


@given(st.sampled_from(RANGES), series)
@settings(max_examples=150, deadline=None)
def test_nothing_is_back_before_it_was_inside_for_the_whole_time(normal: NormalRange, steps: Series) -> None:
    outside_ms: int | None = None
    known: bool | None = None
    for at_ms, was_outside, side in sides_of(normal, steps):
        outside_ms = at_ms if was_outside else outside_ms
        if known and side is not None and not side.is_abnormal:
            assert outside_ms is not None
            assert at_ms - outside_ms > BACK_AFTER_MS
        known = None if side is None else side.is_abnormal


@given(st.sampled_from(RANGES), series, st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_value_that_stays_where_it_is_is_told_there_in_the_end(
    normal: NormalRange, steps: Series, is_outside: bool
) -> None:
    value = next(one for one in (20.0, -1.0, 200.0, -200.0) if normal.judge(one).is_abnormal == is_outside)
    ends = sides_of(normal, [*steps, (1, value), (BACK_AFTER_MS, value)])
    assert ends[-1][2] == Side(is_abnormal=is_outside)


def test_number_that_means_not_known_changes_no_side() -> None:
    metric = metrics.get("modem.csq")
    assert metric is not None
    before = Side(is_abnormal=False)
    assert metric.unknown_values
    assert metric.follow(before, metric.unknown_values[0], TerminalClass.SMART, 5) is before
