from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from sqlmodel import Session, select

from fleet_server.devices.models import Device
from fleet_server.executions.models import Execution
from fleet_server.faults.models import Fault
from fleet_server.kit.times import to_ms, utc_now
from fleet_server.timeline.writer import NewEvent
from protocol.executions import ExecutionState
from tests.browser.conftest import Served, Windows
from tests.fleet_server.console.declared import FULL_CHECK, SYNC
from tests.fleet_server.console.examples import TENANT, device_id
from tests.fleet_server.console.history import execution, run_id, verdict

TILL = device_id("till_two")
CODE = "term.PRN_NO_PAPER"


def mark(page: Page) -> None:
    """A page that is loaded again forgets this."""
    page.evaluate("window.isTheSamePage = true")


def is_same(page: Page) -> bool:
    same: bool = page.evaluate("window.isTheSamePage === true")
    return same


def raise_fault(served: Served, evidence: str = "") -> None:
    now = utc_now()

    def change(session: Session) -> None:
        session.add(
            Fault(
                id="f-paper",
                tenant_id=TENANT,
                device_id=TILL,
                code=CODE,
                severity="major",
                raised_ms=to_ms(now),
                raised_at=now,
                last_seen_at=now,
                is_open=True,
                evidence=evidence,
            )
        )
        device = session.get(Device, TILL)
        assert device is not None
        device.condition, device.condition_rank, device.worst_code = "faulty", 0, CODE

    data = {"code": CODE, "severity": "major", "evidence": evidence, "fault": "f-paper"}
    served.happen(NewEvent(TILL, "fault_raised", now, data), change=change)


def clear_fault(served: Served) -> None:
    def change(session: Session) -> None:
        session.delete(session.exec(select(Fault).where(Fault.id == "f-paper")).one())
        device = session.get(Device, TILL)
        assert device is not None
        device.condition, device.condition_rank, device.worst_code = "well", 3, ""

    data = {"code": CODE, "fault": "f-paper", "lasted_s": 4}
    served.happen(NewEvent(TILL, "fault_cleared", utc_now(), data), change=change)


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_a_fault_appears_and_clears_in_the_open_page_without_a_reload(
    windows: Windows, served: Served, language: str
) -> None:
    page = windows.open(f"/devices/{TILL}", language=language)
    words = "缺纸" if language == "zh-CN" else "paper"
    mark(page)
    raise_fault(served, evidence="<img src=x onerror=alert(1)>")
    expect(page.locator("#lead")).to_contain_text(words, ignore_case=True)
    expect(page.locator("#faults")).to_be_visible()
    expect(page.locator("#timeline li").nth(1)).to_contain_text(CODE)
    clear_fault(served)
    expect(page.locator("#faults")).to_be_hidden()
    expect(page.locator("#lead")).not_to_contain_text(words, ignore_case=True)
    assert is_same(page)
    assert windows.complaints == []


def test_the_row_and_the_census_of_the_fleet_change_where_they_stand(windows: Windows, served: Served) -> None:
    page = windows.open("/", language="en")
    mark(page)
    faulty = page.locator("#census a").first
    expect(faulty).to_contain_text("1")
    raise_fault(served)
    row = page.locator(f"#row-{TILL}")
    expect(row).to_contain_text("Fault")
    expect(faulty).to_contain_text("2")
    clear_fault(served)
    expect(row).to_contain_text("Online, well")
    assert is_same(page)


def test_results_of_a_check_arrive_row_by_row_in_the_device_page(windows: Windows, served: Served) -> None:
    page = windows.open(f"/devices/{TILL}", language="en")
    mark(page)
    page.get_by_role("button", name="Full check").click()
    panel = page.locator("#run-panel")
    expect(panel).to_contain_text("Waits for the device")
    with Session(served.engine) as session:
        run = session.exec(select(Execution.id).where(Execution.device_id == TILL)).first()
    assert run is not None
    for item, title in (("net.rtt_ms", "Round trip time"), ("sys.storage_free_pct", "Storage free")):
        served.happen(NewEvent(TILL, "verdict", utc_now(), {**verdict(item, "pass", 38.0), "execution": run}, run))
        expect(panel).to_contain_text(title)
    assert is_same(page)


def test_a_fix_shows_its_states_as_they_come_and_its_proof_at_the_end(windows: Windows, served: Served) -> None:
    run = run_id(ExecutionState.STORED, 7)

    def start(session: Session) -> None:
        session.add(execution(ExecutionState.STORED, SYNC, utc_now(), number=7))

    served.happen(change=start)
    page = windows.open(f"/runs/{run}", language="en")
    mark(page)
    expect(page.locator(".rail .go")).to_contain_text("Stored by the terminal")
    _move(served, run, ExecutionState.VERIFYING, hold_until=utc_now() + timedelta(seconds=50))
    expect(page.locator(".rail .go")).to_contain_text("Checking the result")
    _move(served, run, ExecutionState.SUCCEEDED, is_final=True, finished_at=utc_now())
    expect(page.locator("#run")).to_contain_text("Proved.")
    assert is_same(page)


def test_a_page_is_live_though_its_scripts_come_late_and_one_after_the_other(windows: Windows, served: Served) -> None:
    page = windows.open("/account", language="en")
    asked = []

    def come_late(route: Route) -> None:
        asked.append(route.request.url)
        time.sleep(0.3)
        route.continue_()

    page.context.route("**/static/**/*.js*", come_late)
    with page.expect_response(lambda answer: "/stream" in answer.url) as stream:
        page.goto(f"/devices/{TILL}")
    assert stream.value.status == 200
    assert asked


def test_a_cut_stream_says_so_and_catches_up_when_it_is_back(windows: Windows, served: Served) -> None:
    page = windows.open(f"/devices/{TILL}", language="en")
    mark(page)
    served.happen(NewEvent(TILL, "note", utc_now(), {"text": "before the cut"}))
    expect(page.locator("#timeline")).to_contain_text("before the cut")
    page.context.set_offline(True)
    # The browser cuts no stream that is open: that is done at the other end.
    served.end_streams()
    expect(page.locator("#beat")).to_contain_text("Reconnecting")
    served.happen(NewEvent(TILL, "note", utc_now(), {"text": "during the cut"}))
    page.context.set_offline(False)
    expect(page.locator("#timeline")).to_contain_text("during the cut")
    expect(page.locator("#beat")).to_contain_text("Updated")
    assert is_same(page)


def test_what_a_person_has_open_stays_open_when_the_page_is_renewed(windows: Windows, served: Served) -> None:
    page = windows.open(f"/devices/{device_id('till_one')}", language="en")
    page.locator("#timeline summary").first.click()
    page.locator("#q, .find").first.focus()
    served.happen(NewEvent(device_id("till_one"), "note", utc_now(), {"text": "something new"}))
    expect(page.locator("#timeline")).to_contain_text("something new")
    expect(page.locator("#timeline details[open]")).to_have_count(1)


def _move(served: Served, run: str, state: ExecutionState, **more: Any) -> None:
    def change(session: Session) -> None:
        row = session.get(Execution, run)
        assert row is not None
        row.state = state.value
        for name, value in more.items():
            setattr(row, name, value)

    data = {"execution": run, "action": FULL_CHECK.name, "kind": "fix", "state": state.value}
    served.happen(NewEvent(device_id("till_one"), "execution", utc_now(), data, run), change=change)
