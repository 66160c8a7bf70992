"""A person at the support desk, in a real browser, on the running demo: nothing between them is replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.demo_client import Demo
from tests.support.chromium import PATIENCE_MS

pytestmark = [pytest.mark.acceptance, pytest.mark.browser]


@pytest.fixture(scope="module")
def desk(running_demo: Demo, chromium: Browser) -> Iterator[Page]:
    """Signed in once: the sign-in of a person is bounded, as it should be."""
    context = chromium.new_context(
        base_url=running_demo.facts["url"], locale="zh-CN", viewport={"width": 1360, "height": 900}
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    user = running_demo.user("support")
    page.goto("/")
    page.fill("input[name=name]", user["name"])
    page.fill("input[name=password]", user["password"])
    page.click("button.pri")
    expect(page.locator("h1")).to_have_text("全部终端")
    yield page
    context.close()
    assert complaints == []


def open_device(desk: Page, demo: Demo, key: str) -> None:
    desk.goto(f"/devices/{demo.device(key)}")


def test_terminal_is_found_by_the_last_six_of_its_serial_number(demo: Demo, desk: Page) -> None:
    desk.goto("/search?q=173190")
    expect(desk.locator("body")).to_contain_text("老街坊面馆")
    desk.goto("/open?tid=60218834")
    expect(desk.locator("h1")).to_contain_text("1 号台")
    assert demo.device("esign1") in desk.url


def test_fault_comes_and_goes_on_the_open_page_without_reload(demo: Demo, desk: Page) -> None:
    open_device(desk, demo, "prn1")
    desk.evaluate("window.neverReloaded = true")
    demo.break_("prn1", "cover_open")
    expect(desk.locator(".lead")).to_contain_text("盖", timeout=PATIENCE_MS)
    expect(desk.locator(".say").first).to_be_visible()
    demo.mend("prn1", "cover_open")
    expect(desk.locator(".lead")).to_contain_text("一切正常", timeout=60_000)
    assert desk.evaluate("window.neverReloaded")


def test_fix_is_pushed_and_its_proof_is_watched(demo: Demo, desk: Page) -> None:
    demo.break_("esign1", "app_dead")
    demo.until_open("esign1", "agent.APP_DEAD")
    open_device(desk, demo, "esign1")
    expect(desk.locator(".lead")).to_contain_text("支付应用")
    desk.get_by_text("重启支付应用").first.click()
    desk.locator("dialog[open], [popover]:popover-open").get_by_role("button").last.click()
    expect(desk.locator(".rail")).to_be_visible()
    expect(desk.locator("main")).to_contain_text("证实修好", timeout=60_000)
    for internal in ("SUCCEEDED", "VERIFYING", "RUNNING", "STORED", "PUBLISHED"):
        assert internal not in desk.locator("body").inner_text()


def test_check_of_an_absent_terminal_waits_with_its_expiry_and_can_be_cancelled(demo: Demo, desk: Page) -> None:
    demo.break_("smart1", "agent_killed")
    demo.until_missed("smart1")
    asked = demo.request("smart1", "app.alive")
    desk.goto(f"/runs/{asked['id']}")
    expect(desk.locator("main")).to_contain_text("排队")
    desk.get_by_role("button", name="取消").click()
    demo.until_state(asked["id"], "CANCELLED")


def test_demo_panel_breaks_and_mends(demo: Demo, desk: Page) -> None:
    desk.goto("/demo")
    expect(desk.locator("main")).to_contain_text("3 号机打印机")
    expect(desk.locator("main")).to_contain_text("缺纸")


def course_of(demo: Demo, key: str, metric: str, **params: str) -> dict[str, Any]:
    query = urlencode({"metrics": metric, "points": "121", **params})
    (found,) = demo.get(f"/api/v1/devices/{demo.device(key)}/health?{query}")["items"]
    course: dict[str, Any] = found
    return course


def test_course_of_a_reading_is_drawn_with_the_numbers_of_the_api(demo: Demo, desk: Page) -> None:
    metric = "sys.mem_avail_pct"
    begin = datetime.now(UTC) - timedelta(minutes=30)
    seen: list[list[Any]] = []

    def samples() -> list[list[Any]]:
        seen[:] = course_of(demo, "smart1", metric, **{"from": begin.isoformat()})["points"]
        return seen

    demo.until(samples, "two samples", 90.0, is_so=lambda points: len(points) > 1)
    until = seen[-1][0]
    # What comes later does not belong to it, so page and API tell of the same samples.
    time = {"from": begin.isoformat(), "to": until}
    expected = course_of(demo, "smart1", metric, **time)
    assert expected["bucket_s"] is None
    desk.goto(f"/devices/{demo.device('smart1')}/health?{urlencode({'m': metric, **time})}")
    figure = desk.locator("#chart-sys-mem_avail_pct")
    expect(figure.locator("path.c-line")).to_have_attribute("d", re.compile("^M"))
    figure.locator("summary").click()
    shown = figure.locator("tbody td").all_inner_texts()
    assert [float(text) for text in shown] == [pytest.approx(value, abs=0.0051) for _, value in expected["points"]]


def test_readings_of_the_fleet_lead_to_the_devices_that_they_are_of(demo: Demo, desk: Page) -> None:
    metric = "sys.mem_avail_pct"
    about = demo.about("smart1")
    desk.goto(f"/distribution?{urlencode({'metric': metric, 'model': about['model']})}")
    row = desk.locator("tbody tr", has_text=about["firmware"] or "未上报")
    expected = demo.get(f"/api/v1/health/distribution?{urlencode({'metric': metric, 'model': about['model']})}")
    (group,) = [one for one in expected["groups"] if one["version"] == about["firmware"]]
    expect(row.locator("td").first).to_have_text(str(group["devices"]))
    row.locator("th a").click()
    expect(desk.locator("#rows")).to_contain_text(about["label"]["zh"])
