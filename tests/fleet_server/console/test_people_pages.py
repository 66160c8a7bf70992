"""Managing people and one's own account, as a browser meets it."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine
from sqlmodel import col, update

from fleet_server.auth.models import LoginSession
from fleet_server.auth.sessions import STEP_UP_LIMIT
from fleet_server.console.pages.people import Deed
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import PASSWORD
from tests.fleet_server.console.test_doors import csrf_of

NEW = "violet-harbour-anvil-92"


def code_in(html: str) -> str:
    found = re.search(r"<code>([a-z2-9]{4}(?:-[a-z2-9]{4}){3})</code>", html)
    assert found is not None
    return found[1]


def test_a_person_is_made_sets_a_password_and_works(browser: Browser) -> None:
    admin = browser("operator", language="en")
    made = admin.post("/people", data={"name": "wang.fang", "role": "viewer", "csrf": csrf_of(admin)})
    assert made.status_code == 200
    code = code_in(made.text)
    assert code not in admin.get("/people").text
    client = browser()
    data = {"name": "wang.fang", "code": code, "new": NEW, "again": NEW}
    assert client.post("/set-up", data=data).headers["location"] == "/"
    assert client.get("/").status_code == 200
    assert client.get("/people").status_code == 403
    again = browser().post("/set-up", data=data)
    assert again.status_code == 422
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize("role", ["viewer", "technician", "support", "approver", "auditor"])
def test_who_may_not_manage_people_changes_nobody(browser: Browser, role: str) -> None:
    client = browser(role)
    csrf = csrf_of(client)
    assert client.post("/people", data={"name": "wang.fang", "role": "viewer", "csrf": csrf}).status_code == 403
    for deed in Deed:
        data = {"role": "operator", "csrf": csrf}
        assert client.post(f"/people/u-viewer/{deed.value}", data=data).status_code == 403, deed
    assert (client.get("/people").status_code == 200) is (role == "auditor")


def test_every_deed_needs_a_fresh_proof(browser: Browser, console_engine: Engine) -> None:
    client = browser("operator")
    csrf = csrf_of(client)
    with transaction(console_engine) as session:
        session.exec(update(LoginSession).values({col(LoginSession.stepped_up_at): utc_now() - STEP_UP_LIMIT}))
    for path in ("/people", *(f"/people/u-viewer/{deed.value}" for deed in Deed)):
        answer = client.post(path, data={"name": "x", "role": "viewer", "csrf": csrf})
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/step-up"), path


def test_disabling_signs_the_person_out_at_once(browser: Browser) -> None:
    victim, admin = browser("viewer"), browser("operator", language="en")
    assert admin.post("/people/u-viewer/disable", data={"csrf": csrf_of(admin)}).status_code == 303
    assert victim.get("/").status_code == 303
    assert "disabled" in admin.get("/people/u-viewer").text
    assert browser().post("/sign-in", data={"name": "viewer", "password": PASSWORD}).status_code == 401


def test_an_operator_is_told_that_he_cannot_disable_himself(browser: Browser) -> None:
    client = browser("operator", language="en")
    answer = client.post("/people/u-operator/disable", data={"csrf": csrf_of(client)})
    assert answer.status_code == 409
    assert "another administrator" in answer.text
    assert "/people/u-operator/disable" not in client.get("/people/u-operator").text


def test_a_tenant_admin_sees_no_button_over_an_operator(browser: Browser) -> None:
    client = browser("tenant_admin")
    assert "/people/u-operator/set-up-code" not in client.get("/people/u-operator").text
    assert "/people/u-viewer/set-up-code" in client.get("/people/u-viewer").text
    assert 'value="operator"' not in client.get("/people").text


def test_a_new_password_is_taken_with_the_present_one_only(browser: Browser) -> None:
    client, other = browser("viewer", language="en"), browser("viewer")
    csrf = csrf_of(client)
    wrong = client.post("/account/password", data={"current": "wrong", "new": NEW, "again": NEW, "csrf": csrf})
    assert wrong.status_code == 422
    assert "present password is not right" in wrong.text
    weak = {"current": PASSWORD, "new": "password1234", "again": "password1234", "csrf": csrf}
    assert "first that somebody would guess" in client.post("/account/password", data=weak).text
    right = client.post("/account/password", data={"current": PASSWORD, "new": NEW, "again": NEW, "csrf": csrf})
    assert right.headers["location"] == "/account?done=password"
    assert client.get("/account").status_code == 200
    assert other.get("/account").status_code == 303


def test_one_ends_ones_own_sessions_elsewhere(browser: Browser) -> None:
    client, other = browser("viewer"), browser("viewer")
    html = client.get("/account").text
    mine = re.search(r"<span class=\"tag\">[^<]+</span></th>.*?value=\"([0-9a-f]{64})\"", html, re.DOTALL)
    assert mine is not None
    others = set(re.findall(r'value="([0-9a-f]{64})"', html)) - {mine[1]}
    assert len(others) == 1
    assert (
        client.post("/account/sessions/end", data={"which": others.pop(), "csrf": csrf_of(client)}).status_code == 303
    )
    assert other.get("/").status_code == 303
    assert client.get("/").status_code == 200
    assert client.post("/account/sessions/end", data={"csrf": csrf_of(client)}).status_code == 303
    assert client.get("/").status_code == 303


def test_what_a_browser_says_of_itself_is_shown_as_text(browser: Browser) -> None:
    client = browser()
    evil = {"User-Agent": "<script>alert(1)</script>"}
    client.post("/sign-in", data={"name": "viewer", "password": PASSWORD}, headers=evil)
    assert "<script>alert" not in client.get("/account").text
