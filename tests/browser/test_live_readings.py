"""An open device page follows what its device says live."""

from __future__ import annotations

import re
import time
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlmodel import Session, col, select

from fleet_server.console import live_readings
from fleet_server.devices.models import Device
from fleet_server.executions.models import Execution
from fleet_server.kit.times import utc_now
from fleet_server.timeline.writer import NewEvent
from protocol.live import LiveProgress, LiveReport
from tests.browser.conftest import Served, Windows
from tests.fleet_server.console.examples import TENANT, device_id
from tests.fleet_server.console.history import verdict
from tests.support.health_rows import put_newest

# Devices of these tests alone.
TILL, METERED = device_id("z_spare_03"), device_id("z_spare_04")
METRIC = "net.rtt_ms"
CELL = "#now-net-rtt_ms"
# Every shift that no person caused.
_SHIFTS = """() => {
  window.shifts = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((one) => { window.shifts += one.value; }))
    .observe({ type: "layout-shift" });
}"""


@pytest.fixture(autouse=True, scope="module")
def _measured(served: Served) -> None:
    def change(session: Session) -> None:
        for device in (TILL, METERED):
            put_newest(session, TENANT, device, {METRIC: 38.0}, utc_now())
        metered = session.get(Device, METERED)
        assert metered is not None
        metered.profile = "metered"

    served.happen(change=change)


def opened(windows: Windows, served: Served, path: str = f"/devices/{TILL}") -> Page:
    page = windows.open(path, language="en")
    page.wait_for_function("document.querySelector('[hx-sse\\\\:connect]') !== null")
    page.wait_for_timeout(300)
    return page


def say(page: Page, served: Served, value: float, device: str = TILL, link: str = "") -> None:
    """Until the page has its stream; a report may be lost."""
    for _ in range(200):
        served.say_live(link or device, LiveReport(device, 1, {METRIC: value}))
        if link or page.locator(CELL).inner_text().startswith(f"{value:g}"):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{CELL} never showed {value:g}")


def test_a_reading_follows_live_and_nothing_else_moves(windows: Windows, served: Served) -> None:
    page = opened(windows, served)
    say(page, served, 31)
    page.evaluate(_SHIFTS)
    order = page.locator("#health th[scope=row]").all_inner_texts()
    for value in (32, 33, 34):
        say(page, served, value)
    expect(page.locator("#live-mark")).to_have_text("live")
    assert page.locator("#health th[scope=row]").all_inner_texts() == order
    assert page.evaluate("window.shifts") == 0
    assert windows.complaints == []


def test_what_is_drawn_anew_keeps_the_live_value(windows: Windows, served: Served) -> None:
    page = opened(windows, served)
    say(page, served, 41)
    served.happen(NewEvent(TILL, "reading", utc_now(), {"metrics": {"prn.status": "ok"}}))
    expect(page.locator("#timeline")).to_contain_text("Printer", ignore_case=True)
    expect(page.locator(CELL)).to_have_text("41 ms")
    expect(page.locator("#live-mark")).to_have_text("live")


def test_another_link_changes_nothing_on_the_page(windows: Windows, served: Served) -> None:
    page = opened(windows, served)
    say(page, served, 51)
    say(page, served, 6_666, link=device_id("till_one"))
    say(page, served, 52)
    expect(page.locator(CELL)).to_have_text("52 ms")


def test_progress_of_a_check_moves_and_is_not_set_back_by_its_results(windows: Windows, served: Served) -> None:
    page = opened(windows, served)
    say(page, served, 71)
    page.get_by_role("button", name="Full check").click()
    expect(page.locator("#run-panel")).to_contain_text("Waits for the device")
    with Session(served.engine) as session:
        newest = select(Execution).where(Execution.device_id == TILL).order_by(col(Execution.created_at).desc())
        run = session.exec(newest).first()
    assert run is not None

    def begin(session: Session) -> None:
        row = session.get(Execution, run.id)
        assert row is not None
        row.state = "RUNNING"

    served.happen(
        NewEvent(TILL, "execution", utc_now(), {"execution": run.id, "state": "RUNNING"}, run.id), change=begin
    )
    meter = page.locator(f"#progress-{run.id}")
    expect(meter).to_have_count(1)
    expect(meter).not_to_have_attribute("value", re.compile(".*"))
    served.say_live(TILL, LiveReport(TILL, 1, {METRIC: 71}, [LiveProgress(run.id, 42)]))
    expect(meter).to_have_attribute("value", "42")
    data = {**verdict("net.rtt_ms", "pass", 38.0), "execution": run.id}
    served.happen(NewEvent(TILL, "verdict", utc_now(), data, run.id))
    expect(page.locator("#run-panel")).to_contain_text("Round trip time")
    expect(meter).to_have_attribute("value", "42")
    assert windows.complaints == []


def test_a_page_left_open_on_a_metered_link_says_that_live_has_ended(
    windows: Windows, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_readings, "METERED_FOR", timedelta(0))
    page = opened(windows, served, f"/devices/{METERED}")
    served.happen(NewEvent(METERED, "note", utc_now(), {"text": "makes the page look"}))
    expect(page.locator("#live-mark")).to_contain_text("live values ended")
    assert METERED not in served.live.links(time.monotonic())
    monkeypatch.undo()
    page.locator("#live-mark a").click()
    say(page, served, 61, METERED)
    expect(page.locator("#live-mark")).to_have_text("live")
    assert METERED in served.live.links(time.monotonic())
