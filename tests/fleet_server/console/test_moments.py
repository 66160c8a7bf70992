from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fleet_server.console.language import Language, translations
from fleet_server.console.moments import Calendar, zone_of
from fleet_server.console.templating import measured_text, number_text, range_text

NOW = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)


def calendar(language: Language, zone: str = "Asia/Shanghai") -> Calendar:
    return Calendar(language, translations(language), zone_of(zone), NOW)


@pytest.mark.parametrize(
    ("ago", "zh", "en"),
    [
        (timedelta(0), "刚刚", "just now"),
        (timedelta(seconds=4), "4 秒前", "4 s ago"),
        (timedelta(minutes=48), "48 分钟前", "48 min ago"),
        (timedelta(hours=3), "11:30", "11:30"),
        (timedelta(hours=20), "昨天 18:30", "yesterday 18:30"),
        (timedelta(days=40), "1 月 21 日 14:30", "21 Jan 14:30"),
        (timedelta(days=400), "2025 年 1 月 26 日 14:30", "26 Jan 2025 14:30"),
        (timedelta(seconds=-90), "刚刚", "just now"),
    ],
)
def test_times_are_relative_on_screen(ago: timedelta, zh: str, en: str) -> None:
    for language, text in ((Language.ZH, zh), (Language.EN, en)):
        moment = calendar(language).ago(NOW - ago)
        assert moment is not None
        assert moment.text == text


def test_the_full_form_names_its_zone() -> None:
    assert calendar(Language.ZH).full(NOW) == "2026-03-02 14:30:00 北京时间"
    assert calendar(Language.EN).full(NOW) == "2026-03-02 14:30:00 Beijing time"


def test_a_zone_that_nobody_knows_is_utc_and_says_so() -> None:
    assert calendar(Language.EN, "Mars/Olympus").full(NOW) == "2026-03-02 06:30:00 UTC"


def test_numbers_have_separators_and_a_real_minus() -> None:
    assert [number_text(n) for n in (-212975940.0, 0.3, 38.0, 1234.56789, 1e18)] == [
        "−212,975,940", "0.3", "38", "1,234.5679", "1e+18",
    ]  # fmt: skip


def test_what_was_measured_is_told_as_finely_as_an_instrument_can() -> None:
    assert [measured_text(n) for n in (8.5371, 104992.7321, -12.0, 0.012345, 0.0)] == [
        "8.54", "104,992.73", "−12", "0.0123", "0",
    ]  # fmt: skip


def test_requirements_read_as_people_write_them() -> None:
    assert [range_text(*pair) for pair in ((-30, 30), (5, 65), (-140, -44), (None, 600), (15, None), (None, None))] == [
        "±30", "5–65", "−140 … −44", "≤ 600", "≥ 15", "",
    ]  # fmt: skip
