from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.inspections.plans import (
    EVERY_DAY,
    OUTCOMES,
    Times,
    TurnState,
    is_time,
    moment,
    settled,
    worst,
)

ZONES = ["Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu", "America/Sao_Paulo"]
DAYS = st.dates(date(2024, 1, 1), date(2028, 12, 31))
TIMES = st.builds(
    Times,
    st.sets(st.sampled_from(EVERY_DAY), min_size=1).map(lambda days: tuple(sorted(days))),
    st.times().map(lambda at: f"{at:%H:%M}"),
    st.integers(1, 720),
)


@given(TIMES, st.sampled_from(ZONES), DAYS, st.text(max_size=20), st.integers(-600, 900))
def test_device_has_one_moment_and_it_lies_in_its_window(
    times: Times, zone: str, day: date, device: str, late_min: int
) -> None:
    window = times.window(day, ZoneInfo(zone))
    now = window.opens_at + timedelta(minutes=late_min)
    at = moment("i", device, window, now)
    assert at == moment("i", device, window, now)
    assert at >= max(window.opens_at, now)
    if now < window.closes_at:
        assert at < window.closes_at


@given(TIMES, st.sampled_from(ZONES), DAYS, st.integers(1, 20))
def test_windows_of_a_span_are_those_that_open_in_it_once_a_day(
    times: Times, zone: str, day: date, span_days: int
) -> None:
    here = ZoneInfo(zone)
    begin = datetime(day.year, day.month, day.day, 7, 30, tzinfo=UTC)
    end = begin + timedelta(days=span_days)
    found = list(times.windows(here, begin, end))
    assert [one.opens_at for one in found] == sorted(one.opens_at for one in found)
    days = {day + timedelta(days=number) for number in range(-3, span_days + 4)}
    wanted = {
        one for one in days if one.isoweekday() in times.days and begin <= times.window(one, here).opens_at <= end
    }
    assert {one.local_date for one in found} == wanted
    assert len(found) == len(wanted)


@given(TIMES, st.sampled_from(ZONES), DAYS)
def test_there_is_always_a_next_window(times: Times, zone: str, day: date) -> None:
    now = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    opens_at = times.next_after(ZoneInfo(zone), now)
    assert now <= opens_at <= now + timedelta(days=8, hours=2)


def test_window_opens_by_the_clock_where_the_device_stands() -> None:
    times = Times(EVERY_DAY, "02:00", 120)
    window = times.window(date(2026, 3, 2), ZoneInfo("Asia/Shanghai"))
    assert window.opens_at == datetime(2026, 3, 1, 18, tzinfo=UTC)
    assert window.closes_at == datetime(2026, 3, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "opens_at"),
    [
        # New York, 2026-03-08: 02:00 to 03:00 does not exist; 2026-11-01: 01:00 to 02:00 comes twice.
        (date(2026, 3, 8), datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),
        (date(2026, 3, 9), datetime(2026, 3, 9, 6, 30, tzinfo=UTC)),
    ],
)
def test_hour_that_a_clock_leaves_out_is_waited_for(day: date, opens_at: datetime) -> None:
    window = Times(EVERY_DAY, "02:30", 60).window(day, ZoneInfo("America/New_York"))
    assert window.opens_at == opens_at
    assert window.closes_at - window.opens_at == timedelta(hours=1)


def test_of_an_hour_that_comes_twice_the_first_counts() -> None:
    window = Times(EVERY_DAY, "01:30", 60).window(date(2026, 11, 1), ZoneInfo("America/New_York"))
    assert window.opens_at == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


def test_moments_of_a_fleet_are_spread_over_the_window() -> None:
    window = Times(EVERY_DAY, "02:00", 100).window(date(2026, 3, 2), ZoneInfo("UTC"))
    at = [moment("i", f"d-{number}", window, window.opens_at) for number in range(9000)]
    parts = [0] * 9
    for one in at:
        parts[int((one - window.opens_at) / timedelta(minutes=10))] += 1
    # A thousand each; five standard deviations of a fair spread are 149.
    assert max(abs(part - 1000) for part in parts) < 150
    other_day = Times(EVERY_DAY, "02:00", 100).window(date(2026, 3, 3), ZoneInfo("UTC"))
    assert moment("i", "d-1", window, window.opens_at) != moment("i", "d-1", other_day, window.opens_at)


@pytest.mark.parametrize("text", ["24:00", "2:00", "02:60", "0200", "02:00:00", "", "０２:00"])
def test_what_is_no_time_of_day_is_none(text: str) -> None:
    assert not is_time(text)


@given(st.lists(st.sampled_from(OUTCOMES), max_size=8))
def test_worst_is_one_of_them_and_none_is_worse(outcomes: list[str]) -> None:
    found = worst(outcomes)
    assert found == "" if not outcomes else all(OUTCOMES.index(found) <= OUTCOMES.index(one) for one in outcomes)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (["pass", "pass"], (TurnState.DONE, "pass", "")),
        (["pass", "warn"], (TurnState.DONE, "warn", "")),
        (["warn", "fail"], (TurnState.DONE, "fail", "")),
        (["pass", ""], (TurnState.DONE, "error", "")),
        (["fail", ""], (TurnState.DONE, "fail", "")),
        (["", ""], (TurnState.MISSED, "", "no_answer")),
    ],
)
def test_turn_is_worth_the_worst_of_its_checks_and_none_without_any(
    ends: list[str], expected: tuple[TurnState, str, str]
) -> None:
    assert settled({f"c.{number}": {"outcome": end} for number, end in enumerate(ends)}) == expected
