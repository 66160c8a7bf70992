"""Makes the README's picture: a terminal out of paper, as the support desk sees it.

Written to ``tests/screenshots/readme-device.png``; copied by hand to ``docs/images/device.png`` when the page's look
has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlmodel import Session, select

from fleet_server.devices.models import Device
from fleet_server.faults.models import Fault
from fleet_server.kit.times import to_ms, utc_now
from fleet_server.timeline.writer import NewEvent
from tests.browser.conftest import SCREENSHOTS, Served, Windows
from tests.fleet_server.console.examples import TENANT, device_id
from tests.support.health_rows import put_newest

TILL = device_id("till_two")
CODE = "term.PRN_NO_PAPER"
EVIDENCE = "prn.status = paper_out"
# What the rules of the repository allow a committed picture.
MAX_BYTES = 250_000


def take_paper_out(session: Session) -> None:
    raised_at = utc_now() - timedelta(minutes=4)
    session.add(
        Fault(
            id="f-picture",
            tenant_id=TENANT,
            device_id=TILL,
            code=CODE,
            severity="major",
            raised_ms=to_ms(raised_at),
            raised_at=raised_at,
            last_seen_at=raised_at,
            is_open=True,
            evidence=EVIDENCE,
        )
    )
    values = {"net.rtt_ms": 41.0, "modem.rsrp_dbm": -88.0, "sys.mem_avail_pct": 44.0}
    put_newest(session, TENANT, TILL, values, raised_at)
    device = session.get(Device, TILL)
    assert device is not None
    device.condition, device.condition_rank, device.worst_code = "faulty", 0, CODE


def put_paper_in(session: Session) -> None:
    session.delete(session.exec(select(Fault).where(Fault.id == "f-picture")).one())
    device = session.get(Device, TILL)
    assert device is not None
    device.condition, device.condition_rank, device.worst_code = "well", 3, ""


@pytest.fixture
def page_without_paper(windows: Windows, served: Served) -> Iterator[Page]:
    data = {"code": CODE, "severity": "major", "evidence": EVIDENCE, "fault": "f-picture"}
    at = utc_now() - timedelta(minutes=4)
    served.happen(NewEvent(TILL, "fault_raised", at, data), change=take_paper_out)
    yield windows.open(f"/devices/{TILL}", language="en")
    cleared = {"code": CODE, "fault": "f-picture", "lasted_s": 240}
    served.happen(NewEvent(TILL, "fault_cleared", utc_now(), cleared), change=put_paper_in)


def test_a_terminal_out_of_paper_makes_a_picture_small_enough_for_the_repository(page_without_paper: Page) -> None:
    expect(page_without_paper.locator("#lead")).to_contain_text("paper", ignore_case=True)
    expect(page_without_paper.locator("#lead blockquote")).to_have_count(2)
    SCREENSHOTS.mkdir(exist_ok=True)
    picture = page_without_paper.screenshot(path=SCREENSHOTS / "readme-device.png")
    assert len(picture) < MAX_BYTES
