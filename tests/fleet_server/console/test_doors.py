"""Who may see and do what, and what every answer carries."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.testclient import TestClient

from fleet_server.auth.models import User
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.roles import Role
from fleet_server.console.frame import local_path
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from protocol.executions import ExecutionState
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import PASSWORD, device_id
from tests.fleet_server.console.history import run_id

TILL = f"/devices/{device_id('till_one')}"
RUN = f"/runs/{run_id(ExecutionState.QUEUED)}"
PAGES = (
    "/",
    TILL,
    f"{TILL}/health",
    f"{TILL}/actions/clock.sync",
    RUN,
    "/distribution",
    "/overrides",
    "/runs",
    "/search",
    "/open",
    "/audit",
    "/dead-letters",
    "/demo",
)
STREAMS = ("/fleet/stream", f"{TILL}/stream", f"{RUN}/stream")


def csrf_of(client: TestClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/account").text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("path", [*PAGES, *STREAMS])
def test_a_stranger_is_led_to_the_sign_in_page_and_back(browser: Browser, path: str) -> None:
    answer = browser().get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=/")


def test_signing_in_leads_back_to_the_wanted_page(browser: Browser) -> None:
    answer = browser().post("/sign-in", data={"name": "viewer", "password": PASSWORD, "next": TILL})
    assert (answer.status_code, answer.headers["location"]) == (303, TILL)


def test_a_wrong_password_says_the_same_for_known_and_unknown_names(browser: Browser) -> None:
    known = browser().post("/sign-in", data={"name": "viewer", "password": "wrong wrong wrong"})
    unknown = browser().post("/sign-in", data={"name": "nobody", "password": "wrong wrong wrong"})
    assert known.status_code == unknown.status_code == 401
    assert known.text.replace("viewer", "nobody") == unknown.text


def test_a_form_without_the_token_of_the_session_changes_nothing(browser: Browser) -> None:
    client = browser("operator", language="en")
    answer = client.post(f"{TILL}/runs", data={"action": "clock.read"})
    assert answer.status_code == 403
    assert "earlier session" in answer.text


def test_a_form_from_another_site_is_refused(browser: Browser) -> None:
    client = browser("operator")
    data = {"action": "clock.read", "csrf": csrf_of(client)}
    assert client.post(f"{TILL}/runs", data=data, headers={"Origin": "https://elsewhere.example"}).status_code == 403


@pytest.mark.parametrize(
    ("role", "action", "status"),
    [
        (Role.VIEWER, "clock.read", 403),
        (Role.TECHNICIAN, "clock.read", 303),
        (Role.TECHNICIAN, "clock.sync", 403),
        (Role.SUPPORT, "clock.sync", 303),
        (Role.OPERATOR, "no.such_action", 422),
    ],
)
def test_each_role_may_ask_for_what_is_its_own(browser: Browser, role: Role, action: str, status: int) -> None:
    client = browser(role.value)
    answer = client.post(f"{TILL}/runs", data={"action": action, "csrf": csrf_of(client)})
    assert answer.status_code == status


def test_a_viewer_sees_no_button_that_would_be_refused(browser: Browser) -> None:
    html = browser("viewer", language="en").get(TILL).text
    assert f"{TILL}/runs" not in html
    assert "Your role may look" in html


def test_only_operators_read_what_was_not_understood(browser: Browser) -> None:
    assert browser("approver").get("/dead-letters").status_code == 403
    answer = browser("operator", language="en").get("/dead-letters")
    assert answer.status_code == 200
    assert "could not be read" in answer.text


def test_the_demo_panel_exists_only_in_the_demo(browser: Browser, console_app: FastAPI) -> None:
    console_app.state.settings = replace(console_app.state.settings, demo=False)
    client = browser("operator")
    assert client.get("/demo").status_code == 404
    assert "/demo" not in client.get("/").text


def test_every_answer_allows_no_foreign_and_no_inline_code(browser: Browser) -> None:
    client = browser("operator")
    for path in (*PAGES, "/sign-in", "/static/components.css", "/no-such-page"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<style|style=|<script(?![^>]*src=)| on[a-z]+=", answer.text)


@pytest.mark.parametrize(
    "target", ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere", "javascript:1", "", "/a\nb", "a"]
)
def test_no_link_leads_out_after_the_sign_in(target: str) -> None:
    assert local_path(target) == "/"


def test_a_failed_page_says_so_in_words_and_not_what_failed(browser: Browser, console_app: FastAPI) -> None:
    client = browser("operator", language="en", raises=False)
    del console_app.state.capability_cache
    answer = client.get(TILL)
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.text
    assert "capability_cache" not in answer.text


@pytest.mark.parametrize(("path", "status"), [("/devices/none", 404), ("/nothing", 404), ("/?cursor=!", 422)])
def test_problems_are_told_in_both_languages(browser: Browser, path: str, status: int) -> None:
    for language in ("zh-CN", "en"):
        answer = browser("viewer", language=language).get(path)
        assert answer.status_code == status
        assert f'lang="{language}"' in answer.text


def test_the_json_door_keeps_its_own_refusals(browser: Browser) -> None:
    answer = browser("operator").get("/api/v1/devices")
    assert answer.status_code == 401
    assert answer.json()["code"] == "not_signed_in"


def test_signing_out_ends_the_session_at_the_server(browser: Browser) -> None:
    client = browser("viewer")
    kept = dict(client.cookies)
    assert client.post("/sign-out", data={"csrf": csrf_of(client)}).status_code == 303
    client.cookies.update(kept)
    assert client.get("/").status_code == 303


def test_another_tenant_finds_nothing_of_this_one(browser: Browser, console_engine: Engine) -> None:
    with transaction(console_engine) as session:
        hashed = Passwords.cheap().hash(PASSWORD)
        stranger = User(
            id="u-other", tenant_id="other", name="other", password_hash=hashed, role="operator", created_at=utc_now()
        )
        session.add(stranger)
    client = browser("other", language="en")
    for path in (TILL, f"{TILL}/readings", f"{TILL}/health", f"{TILL}/actions/clock.sync", RUN, *STREAMS[1:]):
        assert client.get(path).status_code == 404, path
    form = {"action": "clock.read", "csrf": csrf_of(client)}
    assert client.post(f"{TILL}/runs", data=form).status_code == 404
    assert client.post(f"{RUN}/cancel", data=form).status_code == 404
    assert "There is no terminal yet" in client.get("/").text
    assert "No terminal found" in client.get("/open?tid=60210000").text
    for path in ("/search?q=6021", "/runs", "/audit", "/dead-letters", "/demo"):
        assert "Old Neighbours" not in client.get(path).text, path
