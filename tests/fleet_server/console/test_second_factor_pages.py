"""Setting up and giving a second factor, as a browser meets it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from fleet_server.auth.secret_box import new_key_line
from fleet_server.kit.times import utc_now
from tests.fleet_server.auth.people import code_of
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import PASSWORD
from tests.fleet_server.console.test_doors import PAGES, csrf_of

ELSEWHERE = ("/account", *PAGES)


@pytest.fixture(autouse=True)
def strict(console_app: FastAPI) -> None:
    """As an installation is that is no demo."""
    settings = replace(console_app.state.settings, sign_in_without_second_factor=False)
    settings.people_key.parent.mkdir(exist_ok=True)
    settings.people_key.write_text(new_key_line(), "ascii")
    console_app.state.settings = settings


def with_password(client: TestClient, name: str = "support", wanted: str = "/audit") -> str:
    answer = client.post("/sign-in", data={"name": name, "password": PASSWORD, "next": wanted})
    assert answer.status_code == 303
    return answer.headers["location"]


def form_token(html: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found is not None
    return found[1]


def enrol(client: TestClient) -> str:
    """The secret that is in the telephone from then on."""
    address = with_password(client)
    data = {"csrf": form_token(client.get(address).text), "next": "/audit"}
    assert client.post("/second-factor/begin", data=data).headers["location"] == address
    html = client.get(address).text
    assert "<svg" in html
    secret = "".join(re.findall(r"<code>([A-Z2-7]{4})</code>", html))
    answer = client.post("/second-factor", data=data | {"code": code_of(secret, utc_now(), steps=-1)})
    assert answer.status_code == 200
    assert len(re.findall(r"<code>[a-z2-9]{4}(?:-[a-z2-9]{4}){3}</code>", answer.text)) == 10
    assert 'href="/audit"' in answer.text
    return secret


def test_with_a_password_alone_every_page_leads_back_to_the_sign_in(browser: Browser) -> None:
    client = browser()
    assert with_password(client) == "/second-factor?next=/audit"
    for path in ELSEWHERE:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in"), path


def test_setting_up_lets_in_and_shows_the_recovery_codes_once(browser: Browser) -> None:
    client = browser(language="en")
    secret = enrol(client)
    assert client.get("/audit").status_code == 200
    again = client.get("/second-factor")
    assert secret not in again.text.replace("</code> <code>", "")


def test_the_code_is_asked_for_after_the_password(browser: Browser) -> None:
    secret = enrol(browser())
    client = browser(language="en")
    address = with_password(client)
    assert address == "/sign-in/code?next=/audit"
    for path in ELSEWHERE:
        assert client.get(path).status_code == 303, path
    token = form_token(client.get(address).text)
    wrong = client.post("/sign-in/code", data={"csrf": token, "code": "000000x"})
    assert wrong.status_code == 401
    assert "This code is wrong" in wrong.text
    data = {"csrf": token, "code": code_of(secret, utc_now()), "next": "/audit"}
    right = client.post("/sign-in/code", data=data)
    assert (right.status_code, right.headers["location"]) == (303, "/audit")
    assert client.get("/audit").status_code == 200


def test_a_form_for_the_code_needs_the_token_of_the_half_session(browser: Browser) -> None:
    secret = enrol(browser())
    client = browser()
    token = form_token(client.get(with_password(client)).text)
    data = {"code": code_of(secret, utc_now())}
    assert client.post("/sign-in/code", data=data).status_code == 403
    assert client.post("/sign-in/code", data=data | {"csrf": "x"}).status_code == 403
    evil = {"Origin": "https://evil.example"}
    assert client.post("/sign-in/code", data=data | {"csrf": token}, headers=evil).status_code == 403
    assert client.post("/sign-in/code", data=data | {"csrf": token}).status_code == 303


def test_swapping_the_factor_of_an_open_session_needs_a_fresh_proof(
    browser: Browser, console_app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stolen cookie must not become an account of one's own."""
    client = browser()
    enrol(client)
    csrf = csrf_of(client)
    monkeypatch.setattr("fleet_server.auth.sessions.ConsoleSession.is_stepped_up", lambda _self, _now: False)
    for answer in (
        client.get("/second-factor"),
        client.post("/second-factor/begin", data={"csrf": csrf}),
        client.post("/second-factor", data={"csrf": csrf, "code": "1"}),
    ):
        assert (answer.status_code, answer.headers["location"]) == (303, "/step-up?next=/second-factor%3Fnext%3D/")


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_no_step_of_the_sign_in_leads_to_another_site(browser: Browser, target: str) -> None:
    client = browser()
    assert with_password(client, wanted=target) == "/second-factor?next=/"
    html = client.get("/second-factor", params={"next": target}).text
    assert "evil.example" not in html


def test_without_its_key_the_server_says_so_and_lets_nobody_pass(browser: Browser, console_app: FastAPI) -> None:
    secret = enrol(browser())
    console_app.state.settings.people_key.unlink()
    client = browser(language="en")
    token = form_token(client.get(with_password(client)).text)
    answer = client.post("/sign-in/code", data={"csrf": token, "code": code_of(secret, utc_now())})
    assert answer.status_code == 503
    assert "key for second factors" in answer.text


def test_too_many_wrong_tries_are_told_with_a_time(browser: Browser) -> None:
    client = browser(language="en")
    data = {"name": "nobody", "password": "wrong wrong"}
    statuses = [client.post("/sign-in", data=data).status_code for _ in range(31)]
    assert statuses == [401] * 30 + [429]
    answer = client.post("/sign-in", data=data)
    assert int(answer.headers["retry-after"]) >= 1
    assert "Too many wrong tries" in answer.text
