"""Playbooks in the console: which fit a device, starting one, following its walk in plain words."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select
from starlette.testclient import TestClient

from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from fleet_server.playbooks.models import PlaybookRun, PlaybookStep
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import device_id
from tests.fleet_server.console.test_doors import csrf_of
from tests.fleet_server.factories import TENANT

TILL = device_id("till_one")


@pytest.fixture(name="desk")
def _desk(browser: Browser) -> TestClient:
    return browser("support", language="en")


def send(client: TestClient, path: str, **values: Any) -> Any:
    return client.post(path, data={"csrf": csrf_of(client), **values})


def start(client: TestClient) -> str:
    answer = send(client, f"/devices/{TILL}/playbooks/clock_wrong")
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def end(engine: Engine, path: str, end_name: str, kind: str, *steps: tuple[str, dict[str, Any] | None]) -> None:
    with transaction(engine) as session:
        row = session.exec(select(PlaybookRun).where(col(PlaybookRun.id) == path.rpartition("/")[2])).one()
        row.is_open, row.end_name, row.end_kind, row.ended_at = False, end_name, kind, utc_now()
        for number, (name, heard) in enumerate(steps, 1):
            values = {"step": name, "begun_at": utc_now(), "ended_at": utc_now(), "heard": heard}
            session.add(
                PlaybookStep(run_id=row.id, number=number, tenant_id=TENANT, device_id=row.device_id, **values)  # type: ignore[arg-type]  # by their names
            )


def test_only_what_fits_the_device_is_offered(desk: TestClient) -> None:
    html = desk.get(f"/devices/{TILL}/playbooks").text
    assert "The clock is wrong" in html
    assert "may change the device" in html
    assert "Out of storage" not in html
    assert f'href="/devices/{TILL}/playbooks"' in desk.get(f"/devices/{TILL}").text


def test_a_walk_is_started_followed_and_cancelled(desk: TestClient) -> None:
    path = start(desk)
    html = desk.get(path).text
    assert "Being walked" in html
    assert "It goes on by itself" in html
    assert f'hx-sse:connect="{path}/stream' in html
    again = send(desk, f"/devices/{TILL}/playbooks/clock_wrong")
    assert again.status_code == 409
    assert "already" in again.text
    assert send(desk, f"{path}/cancel").status_code == 303
    assert "Is being ended" in desk.get(path).text


def test_the_end_is_said_in_plain_words_in_both_languages(
    desk: TestClient, browser: Browser, console_engine: Engine
) -> None:
    path = start(desk)
    found: dict[str, Any] = {
        "result": "ran",
        "verdict": "fail",
        "codes": ["term.CLOCK_INVALID"],
        "items": {},
        "values": {},
    }
    proved: dict[str, Any] = {"result": "fixed", "verdict": None, "codes": [], "items": {}, "values": {}}
    end(console_engine, path, "fixed", "fixed", ("clock", found), ("sync", proved))
    html = desk.get(path).text
    assert "The clock is right again." in html
    assert "Compare with trusted time" in html
    assert "Out of order" in html
    assert "Mended" in html
    assert "hx-sse:connect" not in html
    chinese = browser("support", language="zh").get(path).text
    assert "时钟已校准" in chinese
    assert "已修好" in chinese
    assert path in desk.get(f"/devices/{TILL}/playbooks").text


def test_a_walk_without_an_end_says_why(desk: TestClient, console_engine: Engine) -> None:
    path = start(desk)
    end(console_engine, path, "", "")
    with transaction(console_engine) as session:
        row = session.exec(select(PlaybookRun).where(col(PlaybookRun.id) == path.rpartition("/")[2])).one()
        row.why, row.code = "refused", "role_too_low"
    html = desk.get(path).text
    assert "The next step was refused." in html
    assert "role_too_low" in html


def test_who_may_only_look_starts_nothing(browser: Browser) -> None:
    viewer = browser("viewer", language="en")
    html = viewer.get(f"/devices/{TILL}/playbooks").text
    assert f'action="/devices/{TILL}/playbooks/' not in html
    assert send(viewer, f"/devices/{TILL}/playbooks/clock_wrong").status_code == 403
