"""Inspections as a desk arranges and reads them in the console."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from fleet_server.db import transaction
from fleet_server.inspections.models import InspectionRound, InspectionTurn
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import device_id
from tests.fleet_server.console.test_doors import csrf_of
from tests.fleet_server.factories import TENANT

TILL = device_id("till_one")
FORM: dict[str, Any] = {
    "name": "Nightly",
    "checks": ["clock.read"],
    "days": ["1", "5"],
    "at": "01:30",
    "window_min": "90",
}
AT = datetime(2026, 3, 2, 18, tzinfo=UTC)


@pytest.fixture(name="boss")
def _boss(browser: Browser) -> TestClient:
    return browser("operator", language="en")


def send(client: TestClient, path: str, **values: Any) -> Any:
    return client.post(path, data={"csrf": csrf_of(client), **values})


def arrange(client: TestClient, **more: Any) -> str:
    answer = send(client, "/inspections", **{**FORM, **more})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def add_round(engine: Engine, path: str, *turns: dict[str, Any], reason: str = "") -> None:
    inspection = path.rpartition("/")[2]
    with transaction(engine) as session:
        session.add(
            InspectionRound(
                inspection_id=inspection,
                local_date="2026-03-02",
                timezone="Asia/Shanghai",
                tenant_id=TENANT,
                opens_at=AT,
                closes_at=AT,
                devices=3,
                reason=reason,
            )
        )
        for number, turn in enumerate(turns):
            values = {"device_id": f"d-gone-{number:04}", "results": {}, **turn}
            session.add(
                InspectionTurn(
                    inspection_id=inspection,
                    local_date="2026-03-02",
                    tenant_id=TENANT,
                    timezone="Asia/Shanghai",
                    due_at=AT,
                    closes_at=AT,
                    **values,
                )
            )


def test_form_offers_the_checks_that_devices_have_and_no_tests_or_fixes(boss: TestClient) -> None:
    html = boss.get("/inspections").text
    assert 'value="clock.read"' in html
    assert 'value="clock.sync"' not in html
    assert 'value="printer.print_test"' not in html


def test_inspection_is_arranged_and_stands_in_the_list_in_words(boss: TestClient) -> None:
    path = arrange(boss)
    html = boss.get("/inspections").text
    assert f'href="{path}"' in html
    assert "Mon Fri, from 01:30 for 90 min, local time" in html
    assert "No window has opened yet." in boss.get(path).text


def test_look_at_whom_it_reaches_keeps_what_was_typed_and_arranges_nothing(boss: TestClient) -> None:
    answer = send(boss, "/inspections/preview", **{**FORM, "name": 'Night "1" <b>'})
    assert answer.status_code == 200
    assert "Whom it reaches" in answer.text
    assert "Night &#34;1&#34; &lt;b&gt;" in answer.text
    assert 'value="01:30"' in answer.text
    assert "No inspection is arranged" in boss.get("/inspections").text


def test_change_keeps_what_the_form_does_not_ask_for_and_refuses_an_old_version(boss: TestClient) -> None:
    path = arrange(boss)
    assert send(boss, f"{path}/change", version="1", **{**FORM, "at": "02:45"}).status_code == 303
    assert "from 02:45" in boss.get(path).text
    stale = send(boss, f"{path}/change", version="1", **FORM)
    assert stale.status_code == 409
    assert "from 02:45" in boss.get(path).text


def test_paused_goes_on_and_ends(boss: TestClient) -> None:
    path = arrange(boss)
    send(boss, f"{path}/pause")
    assert "Go on" in boss.get(path).text
    send(boss, f"{path}/resume")
    assert "Pause" in boss.get(path).text
    send(boss, f"{path}/end")
    html = boss.get(path).text
    assert "Ended" in html
    assert "Change it" not in html


def test_round_says_how_many_came_out_how_and_why_others_did_not(boss: TestClient, console_engine: Engine) -> None:
    path = arrange(boss)
    results = {"clock.read": {"outcome": "fail", "execution": "e-1"}}
    add_round(
        console_engine,
        path,
        {"device_id": TILL, "state": "done", "outcome": "fail", "results": results},
        {"state": "done", "outcome": "pass"},
        {"state": "missed", "reason": "offline"},
    )
    html = boss.get(path).text
    assert "Out of order 1" in html
    assert "Passed 1" in html
    assert "1 was offline" in html
    bad = boss.get(f"{path}/rounds/2026-03-02?result=fail").text
    assert f'href="/devices/{TILL}"' in bad
    assert 'href="/runs/e-1"' in bad
    assert "d-gone-0001" not in bad
    assert "d-gone-0002" in boss.get(f"{path}/rounds/2026-03-02?result=missed").text


def test_round_that_was_missed_as_a_whole_says_why(boss: TestClient, console_engine: Engine) -> None:
    path = arrange(boss)
    add_round(console_engine, path, reason="server_away")
    assert "3 the server was not there" in boss.get(path).text


def test_device_page_leads_to_what_inspections_found_on_it(boss: TestClient, console_engine: Engine) -> None:
    assert f'href="/devices/{TILL}/inspections"' in boss.get(f"/devices/{TILL}").text
    assert "No inspection has looked at it yet" in boss.get(f"/devices/{TILL}/inspections").text
    path = arrange(boss)
    add_round(console_engine, path, {"device_id": TILL, "state": "done", "outcome": "warn"})
    html = boss.get(f"/devices/{TILL}/inspections").text
    assert "To watch" in html
    assert f'href="{path}/rounds/2026-03-02"' in html


def test_who_may_only_look_sees_no_form(browser: Browser, boss: TestClient) -> None:
    path = arrange(boss)
    viewer = browser("viewer", language="en")
    assert "A new inspection" not in viewer.get("/inspections").text
    html = viewer.get(path).text
    assert "Nightly" in html
    assert "End it" not in html
    assert send(viewer, f"{path}/end").status_code == 403


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_every_page_of_inspections_is_in_both_languages(
    browser: Browser, boss: TestClient, console_engine: Engine, language: str
) -> None:
    path = arrange(boss)
    add_round(console_engine, path, {"state": "missed", "reason": "no_answer"})
    client = browser("operator", language=language)
    for page in ("/inspections", path, f"{path}/rounds/2026-03-02", f"/devices/{TILL}/inspections"):
        html = client.get(page).text
        assert ("定期检查" in html) == (language == "zh-CN")
