from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fleet_server.console.view_models.habit import habit_strip

SHANGHAI = ZoneInfo("Asia/Shanghai")
# 14:00 in Shanghai.
NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)


def hours(*local: int) -> list[datetime]:
    return [datetime(2026, 3, 2, hour, tzinfo=SHANGHAI).astimezone(UTC) for hour in local]


def test_what_was_heard_in_trading_hours_leaves_nothing_missing() -> None:
    strip = habit_strip([["10:00", "22:00"]], hours(10, 11, 12, 13), NOW, SHANGHAI)
    assert strip.day == "M40 1H88V13H40z"
    assert strip.up == "M40 7H56"
    assert strip.miss == ""
    assert strip.now_x == "56"


def test_silence_in_trading_hours_is_outlined_up_to_now_only() -> None:
    strip = habit_strip([["10:00", "22:00"]], hours(10), NOW, SHANGHAI)
    assert strip.miss == "M44 4.5H56V9.5H44z"


def test_silence_outside_the_hours_is_not_missed() -> None:
    assert habit_strip([["18:00", "22:00"]], [], NOW, SHANGHAI).miss == ""


def test_nothing_is_missed_of_the_time_before_a_device_was_known() -> None:
    enrolled_at = datetime(2026, 3, 2, 13, tzinfo=SHANGHAI)
    strip = habit_strip([["10:00", "22:00"]], [], NOW, SHANGHAI, enrolled_at)
    assert strip.miss == "M52 4.5H56V9.5H52z"


def test_hours_past_midnight_stand_at_both_ends() -> None:
    assert habit_strip([["22:00", "02:00"]], [], NOW, SHANGHAI).day == "M0 1H8V13H0zM88 1H96V13H88z"


def test_a_device_without_known_hours_shows_only_when_it_was_heard() -> None:
    strip = habit_strip(None, hours(9), NOW, SHANGHAI)
    assert (strip.day, strip.miss) == ("", "")
    assert strip.up != ""


@pytest.mark.parametrize("pair", [[], ["10:00"], ["x", "y"], ["", ""], ["99:99", "1:2:3"]])
def test_hours_that_make_no_sense_draw_no_nonsense(pair: list[str]) -> None:
    assert "nan" not in habit_strip([pair], [], NOW, SHANGHAI).day
