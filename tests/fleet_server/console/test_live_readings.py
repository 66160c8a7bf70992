"""What an open page is told of live reports, and for how long live values stand before stored ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fleet_server.console.frame import Frame
from fleet_server.console.language import Language, translations
from fleet_server.console.live_readings import FRESH, MAX_RUNS, METERED_FOR, LiveReadings, asks_until
from fleet_server.console.moments import Calendar, zone_of
from fleet_server.console.view_models.readings import LiveMark
from fleet_server.kit.times import utc_now
from fleet_server.live.hub import LiveUpdate
from protocol.live import LiveProgress
from protocol.records import Sample

NOON = datetime(2026, 3, 2, 4, tzinfo=UTC)
TILL, RUN = "d-till00000001", "0198c0de-0000-7000-8000-000000000001"
SHOWN = frozenset({"net.rtt_ms", "prn.status"})


@dataclass
class Stored:
    metric: str
    at: datetime
    number: float | None
    text: str | None = None


def frame(at: datetime, language: Language = Language.EN) -> Frame:
    calendar = Calendar(language, translations(language), zone_of("Asia/Shanghai"), at)
    return Frame(language, "", "", None, "/", "fleet", calendar, is_demo=False)


def update(samples: dict[str, Sample], at: datetime = NOON, *progress: LiveProgress) -> LiveUpdate:
    return LiveUpdate(TILL, at, samples, progress)


def made(until: datetime | None = None) -> LiveReadings:
    return LiveReadings("smart", SHOWN, until)


def test_only_what_the_page_shows_and_what_differs_is_told() -> None:
    live = made()
    first = live.follow(update({"net.rtt_ms": 21, "sys.temp_c": 40}), frame(NOON))
    assert 'hx-target="#now-net-rtt_ms"' in first
    assert "sys-temp_c" not in first
    assert 'id="live-mark"' in first
    assert live.follow(update({"net.rtt_ms": 21}), frame(NOON)) == ""
    second = live.follow(update({"net.rtt_ms": 22}), frame(NOON))
    assert ">22 " in second
    assert "live-mark" not in second


def test_a_reading_that_was_left_out_for_once_is_told_anew() -> None:
    live = made()
    live.follow(update({"net.rtt_ms": 21}), frame(NOON))
    assert live.follow(update({"net.rtt_ms": None}), frame(NOON)) == ""
    assert "now-net-rtt_ms" in live.follow(update({"net.rtt_ms": 21}), frame(NOON))


def test_live_values_stand_before_stored_ones_while_they_are_fresh() -> None:
    live = made()
    stored = [Stored("net.rtt_ms", NOON - timedelta(minutes=20), 80.0), Stored("batt.level_pct", NOON, 70.0)]
    live.follow(update({"net.rtt_ms": 21, "wifi.rssi_dbm": -60}), frame(NOON))
    assert [(row.metric, row.number) for row in live.over(stored, NOON)] == [
        ("net.rtt_ms", 21.0),
        ("batt.level_pct", 70.0),
    ]
    assert live.over(stored, NOON + FRESH) == stored


def test_the_mark_goes_when_reports_stop_coming() -> None:
    live = made()
    live.follow(update({"net.rtt_ms": 21}), frame(NOON))
    assert live.settle(frame(NOON + FRESH - timedelta(seconds=1))) == ""
    gone = live.settle(frame(NOON + FRESH))
    assert "live-mark" in gone
    assert "icons.svg" not in gone
    assert live.settle(frame(NOON + FRESH)) == ""


def test_progress_of_a_running_action_moves() -> None:
    html = made().follow(update({}, NOON, LiveProgress(RUN, 42)), frame(NOON, Language.ZH))
    assert f'hx-target="#progress-{RUN}"' in html
    assert 'value="42"' in html


def test_text_from_a_device_stays_text() -> None:
    html = made().follow(update({"prn.status": "<img src=x onerror=alert(1)>"}), frame(NOON))
    assert "<img" not in html
    assert "&lt;img" in html


def test_a_metered_link_is_asked_for_ten_minutes_after_the_page_was_opened_and_no_longer() -> None:
    assert asks_until("unmetered", NOON) is None
    assert asks_until("metered", NOON) == NOON + METERED_FOR
    # An address can claim to be opened tomorrow.
    far = asks_until("metered", utc_now() + timedelta(days=1))
    assert far is not None
    assert far <= utc_now() + METERED_FOR
    live = made(NOON + METERED_FOR)
    assert live.mark(NOON) is LiveMark.NONE
    assert live.mark(NOON + METERED_FOR) is LiveMark.OVER
    live.follow(update({"net.rtt_ms": 21}, NOON + METERED_FOR), frame(NOON + METERED_FOR))
    assert live.mark(NOON + METERED_FOR) is LiveMark.ON, "somebody else may be watching"


def test_progress_that_was_told_is_remembered_for_few_runs_only() -> None:
    live = made()
    runs = [f"0198c0de-0000-7000-8000-{number:012d}" for number in range(MAX_RUNS + 3)]
    for run in runs:
        live.follow(update({}, NOON, LiveProgress(run, 10)), frame(NOON))
    assert list(live._progress) == runs[3:]
    assert live.on_run(None) is None
