"""Declaring and ending freezes on the page, and what other pages say of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import delete, select
from starlette.testclient import TestClient

from fleet_server.db import reading, transaction
from fleet_server.freezes.models import Freeze
from fleet_server.kit.times import utc_now
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import device_id
from tests.fleet_server.console.test_assignment_pages import day_there
from tests.fleet_server.console.test_doors import csrf_of

TILL = device_id("till_one")


@pytest.fixture(name="boss")
def _boss(browser: Browser, console_engine: Engine) -> TestClient:
    with transaction(console_engine) as session:
        session.exec(delete(Freeze))
    return browser("operator", language="en")


def declare(client: TestClient, **more: str) -> Any:
    day = day_there().isoformat()
    form = {"first": day, "last": day, "reason": "National Day", "csrf": csrf_of(client)}
    return client.post("/freezes", data={**form, **more})


def test_a_freeze_is_declared_said_on_pages_where_things_are_asked_and_ended(
    boss: TestClient, browser: Browser
) -> None:
    assert "No freeze was declared" in boss.get("/freezes").text
    assert declare(boss).status_code == 303
    viewer = browser("viewer", language="en")
    for path in ("/", f"/devices/{TILL}", "/inspections", "/runs"):
        html = viewer.get(path).text
        assert "Freeze until" in html, path
        assert "National Day" in html, path
        assert "a fix of one terminal by a person, go on" in html, path
    assert "Freeze until" not in viewer.get("/distribution").text
    listed = viewer.get("/freezes").text
    assert "in force" in listed
    assert 'action="/freezes' not in listed
    page = boss.get("/freezes").text
    (path,) = {part.split('"')[0] for part in page.split('action="')[1:] if part.startswith("/freezes/")}
    assert boss.post(path, data={"csrf": csrf_of(boss)}).status_code == 303
    assert "ended early by" in boss.get("/freezes").text
    assert "Freeze until" not in viewer.get("/runs").text


def test_one_that_begins_within_a_day_is_announced_and_one_after_that_is_not(boss: TestClient) -> None:
    later = day_there(3).isoformat()
    assert declare(boss, first=later, last=later).status_code == 303
    assert "Freeze from" not in boss.get("/runs").text
    tomorrow = day_there(1).isoformat()
    assert declare(boss, first=tomorrow, last=tomorrow, reason="Double 11").status_code == 303
    html = boss.get("/runs").text
    assert "Freeze from" in html
    assert "Double 11" in html
    assert "National Day" not in html


def test_the_days_of_an_occasion_are_filled_in(boss: TestClient, console_engine: Engine) -> None:
    html = boss.get("/freezes?occasion=double_11").text
    assert 'value="Double 11"' in html
    first = html.split('name="first" value="')[1][:10]
    last = html.split('name="last" value="')[1][:10]
    assert (first[5:], last[5:]) == ("11-09", "11-12")
    assert declare(boss, first=first, last=last, at="18:00").status_code == 303
    with reading(console_engine) as session:
        row = session.exec(select(Freeze)).one()
    if row.begins_at > utc_now() + timedelta(minutes=1):
        assert row.begins_at.isoformat() == f"{first}T10:00:00+00:00"
    assert row.ends_at.isoformat() == f"{last}T16:00:00+00:00"


def test_only_the_operator_of_the_installation_is_offered_all_tenants(boss: TestClient, browser: Browser) -> None:
    assert "all_tenants" in boss.get("/freezes").text
    approver = browser("approver", language="en")
    assert "all_tenants" not in approver.get("/freezes").text
    assert declare(approver, all_tenants="yes").status_code == 403
    assert declare(boss, all_tenants="yes").status_code == 303
    assert "for all tenants, by the operator of the installation" in approver.get("/freezes").text


def test_what_cannot_be_a_freeze_is_said_in_words(boss: TestClient) -> None:
    answer = declare(boss, last=day_there(-2).isoformat())
    assert answer.status_code == 422
    assert "more than 45 days on" in answer.text
