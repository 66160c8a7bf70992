"""Assigning terminals to a technician, and the technician's own page."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine
from sqlmodel import delete, select
from starlette.testclient import TestClient

from fleet_server.assignments.models import Assignment
from fleet_server.db import reading, transaction
from fleet_server.kit.times import utc_now
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import device_id
from tests.fleet_server.console.test_doors import csrf_of

TILL, SITE = device_id("till_one"), "s-petrol-0000"


@pytest.fixture(name="desk")
def _desk(browser: Browser, console_engine: Engine) -> TestClient:
    with transaction(console_engine) as session:
        session.exec(delete(Assignment))
    return browser("support", language="en")


def day_there(days: int = 0) -> date:
    """So many days after today, by the clocks where the shops are."""
    return (utc_now() + timedelta(days=days)).astimezone(ZoneInfo("Asia/Shanghai")).date()


def assign(client: TestClient, **more: str) -> Any:
    day = day_there().isoformat()
    form = {"technician": "technician", "device": TILL, "first": day, "last": day, "csrf": csrf_of(client)}
    return client.post("/assignments", data={**form, **more})


def test_a_desk_assigns_from_the_terminals_page_and_ends_it(desk: TestClient, browser: Browser) -> None:
    assert f"/assignments?device={TILL}" in desk.get(f"/devices/{TILL}").text
    form = desk.get(f"/assignments?device={TILL}").text
    assert "<option>technician</option>" in form
    assert assign(desk).status_code == 303
    page = desk.get("/assignments").text
    assert f'href="/devices/{TILL}"' in page
    technician = browser("technician", language="en")
    today = technician.get("/today").text
    assert f"/devices/{TILL}" in today
    assert technician.get(f"/devices/{TILL}").status_code == 200
    (path,) = {part.split('"')[0] for part in page.split('action="')[1:] if part.startswith("/assignments/")}
    assert desk.post(path, data={"csrf": csrf_of(desk)}).status_code == 303
    assert "Nothing is assigned" in desk.get("/assignments").text
    assert technician.get(f"/devices/{TILL}").status_code == 404


def test_a_day_is_one_of_the_clocks_where_it_stands(desk: TestClient, console_engine: Engine) -> None:
    tomorrow = day_there(1)
    last = tomorrow + timedelta(days=1)
    assert assign(desk, first=tomorrow.isoformat(), last=last.isoformat()).status_code == 303
    with reading(console_engine) as session:
        row = session.exec(select(Assignment)).one()
    assert (row.begins_at.isoformat(), row.ends_at.isoformat()) == (
        f"{tomorrow - timedelta(days=1)}T16:00:00+00:00",
        f"{last}T16:00:00+00:00",
    )


def test_a_shop_is_assigned_with_all_that_stands_there(desk: TestClient, browser: Browser) -> None:
    assert f"/assignments?site={SITE}" in desk.get(f"/sites/{SITE}").text
    assert assign(desk, device="", site=SITE).status_code == 303
    assert "all terminals there" in desk.get("/assignments").text
    technician = browser("technician", language="en")
    assert technician.get(f"/sites/{SITE}").status_code == 200
    assert technician.get(f"/devices/{TILL}").status_code == 404


def test_what_cannot_be_assigned_is_said_in_words(desk: TestClient) -> None:
    past = day_there(-1).isoformat()
    assert "last day comes before the first" in assign(desk, first=past, last=past).text
    assert "is a technician who is let in" in assign(desk, technician="viewer").text


def test_the_page_of_today_shows_what_is_wrong_and_what_happened_last(desk: TestClient, browser: Browser) -> None:
    assert assign(desk).status_code == 303
    today = browser("technician", language="zh-CN").get("/today").text
    assert "今天" in today
    assert "未消除" in today or "没有未消除的故障" in today
    assert f"/sites/{TILL}" not in today
    english = browser("technician", language="en").get("/today").text
    assert "What happened last" in english
    assert english.count('class="stop"') >= 1


def test_another_role_is_told_that_the_page_is_for_technicians(browser: Browser) -> None:
    assert "This page is for technicians" in browser("viewer", language="en").get("/today").text


def test_a_technician_is_offered_today_and_no_list_of_the_fleets_inspections(browser: Browser) -> None:
    page = browser("technician", language="en").get("/").text
    assert 'href="/today"' in page
    assert 'href="/inspections"' not in page
    assert 'href="/assignments"' not in page
