"""Axes: round marks around every value, and round local times also where clocks are set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.console.language import Language, translations
from fleet_server.console.moments import Calendar
from fleet_server.console.view_models.charts import Period
from fleet_server.console.view_models.course_range import SPANS, choose_period
from fleet_server.console.view_models.scales import mark_text, moments_of, scale_of

NOW = datetime(2026, 3, 2, 12, 7, 31, tzinfo=UTC)


def calendar(zone: str = "Asia/Shanghai", language: Language = Language.EN) -> Calendar:
    return Calendar(language, translations(language), ZoneInfo(zone), NOW)


@settings(max_examples=200)
@given(values=st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=5))
def test_marks_are_few_and_stand_around_all_values(values: list[float]) -> None:
    scale = scale_of(values)
    assert 2 <= len(scale.marks) <= 6
    assert list(scale.marks) == sorted(set(scale.marks))
    slack = (scale.high - scale.low) * 1e-6
    assert scale.low - slack <= min(values) <= max(values) <= scale.high + slack
    assert all(0 <= scale.place(value) <= 1 for value in values)


@pytest.mark.parametrize(
    ("values", "marks"),
    [
        ([0, 100], (0, 50, 100)),
        ([38, 41], (38, 39, 40, 41)),
        ([-105, -91], (-105, -100, -95, -90)),
        ([0.0], (-1, -0.5, 0, 0.5, 1)),
        ([-30, 2, 30], (-40, -20, 0, 20, 40)),
    ],
)
def test_marks_are_round(values: list[float], marks: tuple[float, ...]) -> None:
    assert scale_of(values).marks == pytest.approx(marks)


@pytest.mark.parametrize(
    ("value", "zh", "en"),
    [
        (0.25, "0.25", "0.25"),
        (-105, "−105", "−105"),
        (9999, "9,999", "9,999"),
        (-213_000_000, "−2.1亿", "−213M"),
        (0.1 + 0.2, "0.3", "0.3"),
    ],
)
def test_long_numbers_are_written_short(value: float, zh: str, en: str) -> None:
    assert (mark_text(value, Language.ZH), mark_text(value, Language.EN)) == (zh, en)


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "UTC"])
@pytest.mark.parametrize("span", [span for span, _ in SPANS.values()] + [timedelta(days=900)])
@pytest.mark.parametrize("end", [NOW, datetime(2026, 3, 29, 9, tzinfo=UTC), datetime(2026, 11, 1, 20, tzinfo=UTC)])
def test_moments_are_round_local_times_within_the_period(zone: str, span: timedelta, end: datetime) -> None:
    period = Period(end - span, end)
    found = moments_of(period, calendar(zone))
    assert 3 <= len(found) <= 8
    assert all(period.begin <= at <= period.end for at, _ in found)
    assert [at for at, _ in found] == sorted({at for at, _ in found})
    for at, _ in found:
        local = at.astimezone(ZoneInfo(zone))
        assert (local.second, local.minute % 10) == (0, 0)


def test_midnight_is_marked_by_its_date() -> None:
    period = Period(datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 20, tzinfo=UTC))
    words = [words for _, words in moments_of(period, calendar())]
    assert words == ["20:00", "22:00", "2 Mar", "02:00", "04:00"]
    assert [words for _, words in moments_of(period, calendar(language=Language.ZH))][2] == "3 月 2 日"


def test_a_period_of_its_own_is_a_wall_clock_of_the_site() -> None:
    chosen = choose_period("7d", "2026-03-01T08:00", "2026-03-01T20:30", calendar())
    assert chosen.period == Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 12, 30, tzinfo=UTC))
    assert (chosen.span, chosen.begin, chosen.end) == ("", "2026-03-01T08:00", "2026-03-01T20:30")


def test_a_moment_with_its_own_zone_is_taken_as_such() -> None:
    chosen = choose_period("", "2026-03-01T00:00:00Z", "2026-03-01T02:00:00+01:00", calendar())
    assert chosen.period.end - chosen.period.begin == timedelta(hours=1)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("2026-03-01T08:00", ""),
        ("", "2026-03-01T08:00"),
        ("2026-03-01T08:00", "2026-03-01T08:00"),
        ("2026-03-01T09:00", "2026-03-01T08:00"),
        ("2010-03-01T09:00", "2026-03-01T08:00"),
        ("0001-01-01T00:00", "2026-03-01T08:00"),
        ("9999-12-31T23:59", "9999-12-31T23:59"),
        ("<b>", "'"),
    ],
)
def test_what_makes_no_sense_shows_the_usual_time_and_keeps_what_was_typed(begin: str, end: str) -> None:
    chosen = choose_period("", begin, end, calendar())
    assert chosen.is_unreadable
    assert chosen.period == Period(NOW - SPANS["8h"][0], NOW)
    assert (chosen.begin, chosen.end) == (begin, end)


def test_an_unknown_span_is_the_usual_one() -> None:
    assert choose_period("100y", "", "", calendar()).span == "8h"
