"""Larger charts: nothing leaves its box, holes stay holes, and a mean hides no peak."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.console.view_models.charts import Period
from fleet_server.console.view_models.course_lines import HEIGHT, WIDTH, Box, Limits, Measured, holes_of, lines_of
from fleet_server.console.view_models.scales import scale_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = Period(NOON, NOON + 60 * MINUTE)
NO_LIMITS: Limits = (None, None)
LIMIT = 121


def samples(*minutes: float, value: float = 5.0) -> list[Measured]:
    return [Measured(NOON + minute * MINUTE, value, value, value) for minute in minutes]


def buckets(*minutes: int, low: float = 1.0, mean: float = 2.0, high: float = 3.0) -> list[Measured]:
    return [Measured(NOON + minute * MINUTE, mean, low, high, 4) for minute in minutes]


def box(measured: list[Measured], *more: float, period: Period = HOUR) -> Box:
    return Box(period, scale_of([one.low for one in measured] + [one.high for one in measured] + list(more)))


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


numbers = st.floats(min_value=-1e12, max_value=1e12)
moments = st.lists(st.integers(-5, 70), max_size=30, unique=True).map(sorted)


@settings(max_examples=80)
@given(minutes=moments, values=st.lists(numbers, min_size=30, max_size=30), bound=numbers, is_bucketed=st.booleans())
def test_nothing_leaves_the_box(minutes: list[int], values: list[float], bound: float, *, is_bucketed: bool) -> None:
    measured = [
        Measured(NOON + minute * MINUTE, value, min(value, other), max(value, other))
        for minute, value, other in zip(minutes, values, reversed(values), strict=False)
    ]
    drawn = lines_of(measured, 5 * MINUTE if is_bucketed else None, (None, bound), box(measured, bound), LIMIT)
    for path in (drawn.line, drawn.area, drawn.out, *(hole.hatch for hole in drawn.holes)):
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places(path))
    assert all(float(hole.x) >= 0 and float(hole.x) + float(hole.width) <= WIDTH + 0.1 for hole in drawn.holes)


def test_a_hole_among_samples_is_one_in_the_line() -> None:
    measured = samples(*range(20), *range(40, 60))
    (hole,) = holes_of(measured, None, HOUR, LIMIT)
    assert (hole.begin, hole.end) == (NOON + 19 * MINUTE, NOON + 40 * MINUTE)
    assert lines_of(measured, None, NO_LIMITS, box(measured), LIMIT).line.count("M") == 2


def test_before_the_first_and_after_the_last_sample_nothing_is_known() -> None:
    found = holes_of(samples(*range(20, 40)), None, HOUR, LIMIT)
    assert [(one.begin, one.end) for one in found] == [
        (NOON, NOON + 20 * MINUTE),
        (NOON + 39 * MINUTE, NOON + 60 * MINUTE),
    ]


def test_thinned_samples_have_no_holes_where_none_were() -> None:
    day = Period(NOON, NOON + 480 * MINUTE)
    # The lowest and the highest of each stretch of eight, far apart or beside each other.
    for first, second in ((0, 7), (3, 4)):
        minutes = [begin + offset for begin in range(0, 480, 8) for offset in (first, second)]
        assert holes_of(samples(*minutes), None, day, LIMIT) == []


def test_a_bucket_that_is_missing_is_a_hole_of_its_own_length() -> None:
    measured = buckets(0, 10, 20, 40, 50)
    (hole,) = holes_of(measured, 10 * MINUTE, HOUR, LIMIT)
    assert (hole.begin, hole.end) == (NOON + 30 * MINUTE, NOON + 40 * MINUTE)
    drawn = lines_of(measured, 10 * MINUTE, NO_LIMITS, box(measured), LIMIT)
    assert drawn.line.count("M") == drawn.area.count("M") == drawn.area.count("z") == 2


def test_a_single_sample_between_holes_is_a_dot() -> None:
    measured = samples(0, 1, 2, 30, 57, 58, 59)
    assert "h.1" in lines_of(measured, None, NO_LIMITS, box(measured), LIMIT).line


def test_a_peak_within_a_bucket_is_out_of_range_though_its_mean_is_not() -> None:
    measured = [*buckets(0, 10), *buckets(20, high=99.0)]
    drawn = lines_of(measured, 10 * MINUTE, (None, 10.0), box(measured, 10.0), LIMIT)
    assert drawn.out.count("M") == 1
    (place,) = places(drawn.out)
    assert place[0] == pytest.approx(WIDTH * 25 / 60, abs=0.1)


def test_samples_on_the_limit_are_in_range() -> None:
    measured = [*samples(0, 1, value=10.0), *samples(2, 3, value=10.5), *samples(4, value=9.0)]
    drawn = lines_of(measured, None, (9.0, 10.0), box(measured), LIMIT)
    assert [x for x, _ in places(drawn.out)] == [12.0, 18.0]
