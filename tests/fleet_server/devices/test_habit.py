"""When a shop trades, in its own time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.devices.habit import LOOK_BACK, Habit, hour_of, trading_probability

SHANGHAI = "Asia/Shanghai"
BERLIN = "Europe/Berlin"
DAYS = timedelta(days=1)


def local(zone: str, *parts: int) -> datetime:
    return datetime(*parts).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)  # type: ignore[arg-type]  # numbers only


def heard_daily(now: datetime, zone: str, days: int, hours: range, *, but_weekday: int | None = None) -> set[datetime]:
    there = now.astimezone(ZoneInfo(zone))
    moments = (
        (there - back * DAYS).replace(hour=hour, minute=0, second=0, microsecond=0)
        for back in range(days + 1)
        for hour in hours
    )
    return {hour_of(one) for one in moments if one <= there and one.weekday() != but_weekday}


@pytest.mark.parametrize(
    ("hours", "at", "expected"),
    [
        ([["06:00", "22:00"]], (2026, 3, 2, 6), 1.0),
        ([["06:00", "22:00"]], (2026, 3, 2, 5, 59), 0.0),
        ([["06:00", "22:00"]], (2026, 3, 2, 22), 0.0),
        ([["11:00", "14:00"], ["17:00", "21:30"]], (2026, 3, 2, 15), 0.0),
        ([["18:00", "02:00"]], (2026, 3, 2, 1, 30), 1.0),
        ([["18:00", "02:00"]], (2026, 3, 2, 12), 0.0),
        ([["00:00", "24:00"]], (2026, 3, 2, 3), 1.0),
        ([], (2026, 3, 2, 12), 0.0),
    ],
)
def test_declared_hours_decide(hours: list[list[str]], at: tuple[int, ...], expected: float) -> None:
    assert trading_probability(Habit(SHANGHAI, hours, ()), local(SHANGHAI, *at)) == expected


def test_nothing_is_said_before_a_week_is_known() -> None:
    now = local(SHANGHAI, 2026, 3, 2, 12)
    heard = heard_daily(now, SHANGHAI, 6, range(8, 20))
    assert trading_probability(Habit(SHANGHAI, None, heard), now) is None
    assert trading_probability(Habit(SHANGHAI, None, ()), now) is None


def test_a_week_teaches_the_hours() -> None:
    now = local(SHANGHAI, 2026, 3, 10, 12)
    heard = heard_daily(now, SHANGHAI, 8, range(8, 20))
    assert trading_probability(Habit(SHANGHAI, None, heard), now) == 1.0
    night = local(SHANGHAI, 2026, 3, 10, 3)
    assert trading_probability(Habit(SHANGHAI, None, {hour for hour in heard if hour <= night}), night) == 0.0


def test_four_weeks_teach_the_day_of_rest() -> None:
    sunday = local(SHANGHAI, 2026, 3, 29, 12)
    heard = heard_daily(sunday - timedelta(hours=16), SHANGHAI, 27, range(8, 20), but_weekday=6)
    assert trading_probability(Habit(SHANGHAI, None, heard), sunday) == 0.0
    monday = sunday + DAYS
    assert trading_probability(Habit(SHANGHAI, None, heard), monday) == 1.0


def test_summer_time_moves_nothing() -> None:
    after = local(BERLIN, 2026, 3, 31, 8, 30)  # two days after the clocks went forward
    heard = heard_daily(after - timedelta(hours=9), BERLIN, 12, range(8, 20))
    assert trading_probability(Habit(BERLIN, None, heard), after) == 1.0
    assert trading_probability(Habit(BERLIN, None, heard), after - timedelta(hours=1)) == 0.0


def test_a_zone_that_does_not_exist_stops_nothing() -> None:
    assert trading_probability(Habit("Mars/Base", [["00:00", "24:00"]], ()), local(BERLIN, 2026, 1, 1)) == 1.0


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([SHANGHAI, BERLIN, "America/St_Johns", "Pacific/Chatham"]),
    st.integers(0, 400 * 24),
    st.sets(st.integers(0, 40 * 24), max_size=60),
)
def test_a_probability_is_one_whatever_was_heard(zone: str, start_h: int, back_h: set[int]) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=start_h, minutes=17)
    probability = trading_probability(Habit(zone, None, {hour_of(now - timedelta(hours=h)) for h in back_h}), now)
    assert probability is None or 0.0 <= probability <= 1.0
    old = {hour_of(now - timedelta(hours=h)) for h in back_h if timedelta(hours=h) > LOOK_BACK + timedelta(hours=1)}
    assert trading_probability(Habit(zone, None, old), now) is None
