from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.console.device_parts import course
from fleet_server.console.view_models.charts import Period, range_strip, spark_line
from protocol.catalogue.normal_range import AtLeast, AtMost, Between, NormalRange

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
numbers = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)
ranges = st.one_of(
    numbers.map(AtMost), numbers.map(AtLeast), st.tuples(numbers, numbers).map(lambda two: Between(min(two), max(two)))
)
HOUR = Period(NOON, NOON + timedelta(hours=1))
BOX_WIDTH, BOX_HEIGHT = 112.0, 18.0


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


@settings(max_examples=60)
@given(normal=ranges, value=numbers, written=st.sampled_from(["0..100", "-140..0", "nonsense", "0..1e8", ""]))
def test_a_strip_never_leaves_its_box(normal: NormalRange, value: float, written: str) -> None:
    strip = range_strip(normal, value, written)
    assert strip is not None
    assert 0 <= float(strip.normal_x) <= BOX_WIDTH
    assert float(strip.normal_x) + float(strip.normal_width) <= BOX_WIDTH + 1.1
    assert 0 <= float(strip.tick_x) <= BOX_WIDTH - 3


@settings(max_examples=60)
@given(values=st.lists(st.one_of(st.none(), numbers), max_size=40), normal=st.one_of(st.none(), ranges))
def test_a_spark_never_leaves_its_box(values: list[float | None], normal: NormalRange | None) -> None:
    spark = spark_line([(NOON + timedelta(minutes=n), value) for n, value in enumerate(values)], normal, HOUR)
    if spark is not None:
        assert all(0 <= x <= BOX_WIDTH and 0 <= y <= BOX_HEIGHT for x, y in places(spark.line))


def test_minutes_are_drawn_as_minutes_of_the_hours_that_the_column_stands_for() -> None:
    period = Period(NOON - timedelta(hours=8), NOON)
    spark = spark_line([(NOON - timedelta(minutes=n), 5.0) for n in (30, 20, 10, 0)], None, period)
    assert spark is not None
    first, last = places(spark.line)[0], places(spark.line)[-1]
    assert first[0] == pytest.approx(BOX_WIDTH * 15 / 16, abs=0.1)
    assert last[0] == BOX_WIDTH


def test_a_gap_is_not_bridged() -> None:
    minutes = [0, 1, 2, 50, 51, 52]
    points = course([(NOON + timedelta(minutes=n), 5.0) for n in minutes])
    spark = spark_line(points, None, HOUR)
    assert spark is not None
    assert spark.line.count("M") == 2


def test_what_leaves_the_range_is_drawn_again_as_out() -> None:
    points = [(NOON + timedelta(minutes=n), value) for n, value in enumerate([1.0, 2.0, 99.0, 98.0, 1.0])]
    spark = spark_line(points, AtMost(10), HOUR)
    assert spark is not None
    assert len(places(spark.out)) == 2


def test_words_have_no_course() -> None:
    assert course([(NOON, "ok"), (NOON, "paper_out")]) == []
