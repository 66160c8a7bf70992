"""The page that asks for a fresh proof, as a browser meets it."""

from __future__ import annotations

import pytest

from fleet_server.auth.tries import MAX_TRIES
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import PASSWORD
from tests.fleet_server.console.test_doors import csrf_of


def test_the_right_proof_changes_the_cookie_and_leads_back(browser: Browser) -> None:
    client = browser("approver")
    before = client.cookies["tillmedic"]
    answer = client.post("/step-up", data={"proof": PASSWORD, "next": "/audit", "csrf": csrf_of(client)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit")
    assert client.cookies["tillmedic"] != before
    assert client.get("/").status_code == 200
    client.cookies.clear()
    client.cookies.set("tillmedic", before)
    assert client.get("/").status_code == 303


def test_a_wrong_proof_is_told_and_changes_nothing(browser: Browser) -> None:
    client = browser("approver", language="en")
    before = client.cookies["tillmedic"]
    answer = client.post("/step-up", data={"proof": "wrong", "csrf": csrf_of(client)})
    assert answer.status_code == 401
    assert "That is not right" in answer.text
    assert client.cookies["tillmedic"] == before


def test_guessing_ends_at_the_sign_in_page(browser: Browser) -> None:
    client = browser("approver")
    data = {"proof": "wrong", "csrf": csrf_of(client)}
    answers = [client.post("/step-up", data=data).status_code for _ in range(MAX_TRIES)]
    assert answers == [401] * (MAX_TRIES - 1) + [303]
    assert client.get("/").status_code == 303
    assert client.post("/sign-in", data={"name": "approver", "password": PASSWORD}).status_code == 401


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example"])
def test_the_way_back_leads_to_no_other_site(browser: Browser, target: str) -> None:
    client = browser("approver")
    answer = client.post("/step-up", data={"proof": PASSWORD, "next": target, "csrf": csrf_of(client)})
    assert answer.headers["location"] == "/"


def test_a_choice_of_language_needs_the_token_of_the_session(browser: Browser) -> None:
    client = browser("viewer")
    assert client.post("/preferences", data={"language": "en"}).status_code == 403
    assert client.post("/preferences", data={"language": "en", "csrf": csrf_of(client)}).status_code == 303
    assert browser().post("/preferences", data={"language": "en"}).status_code == 303


def test_a_stranger_who_locks_a_name_shuts_nobody_out_who_signed_in_here_before(browser: Browser) -> None:
    mine = browser()
    data = {"name": "viewer", "password": PASSWORD}
    assert mine.post("/sign-in", data=data).status_code == 303
    assert mine.cookies.get("tillmedic-known")
    mine.post("/sign-out", data={"csrf": csrf_of(mine)})
    for _ in range(10):
        assert browser().post("/sign-in", data={"name": "viewer", "password": "wrong"}).status_code == 401
    assert browser().post("/sign-in", data=data).status_code == 401
    assert mine.post("/sign-in", data=data).status_code == 303
    # Nor is a proof refused that is asked for again.
    answer = mine.post("/step-up", data={"csrf": csrf_of(mine), "proof": PASSWORD})
    assert answer.status_code == 303
