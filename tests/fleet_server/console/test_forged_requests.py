"""Every unsafe route of the console, found in the program itself, against requests that another site makes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from protocol.enrolment import FINGERPRINT_CHARS, SECRET_CHARS, Code
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.test_doors import csrf_of
from tests.support.enrolling import Device
from tests.support.signing_requests import new_key, request_of

SAFE = {"GET", "HEAD", "OPTIONS"}
EVIL = {"Origin": "https://evil.example"}
# Before anybody is known there is no session whose token could be asked for: the browser's word on the origin decides.
WITHOUT_SESSION = {"/sign-in", "/preferences", "/set-up"}
# Of devices, which have no session: these take no cookie into account, so a forged request has nothing to use there.
OF_DEVICES = {("POST", "/enrol/v1/requests"), ("POST", "/enrol/v1/renewals")}


def unsafe_routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in flattened(app.routes):
        if not route.path.startswith("/api/"):
            for method in sorted((route.methods or set()) - SAFE):
                yield method, route.path


def flattened(routes: Iterable[object]) -> Iterator[APIRoute]:
    """A router that was included keeps its routes to itself."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            inner = getattr(route, "original_router", None)
            yield from flattened(inner.routes if inner is not None else ())


def path_of(template: str) -> str:
    return template.replace("{", "").replace("}", "").replace(":path", "")


@pytest.fixture
def routes(console_app: FastAPI) -> list[tuple[str, str]]:
    found = [route for route in unsafe_routes(console_app) if route not in OF_DEVICES]
    # What is known to be there: an empty list would pass every test below.
    assert {("POST", "/sign-out"), ("POST", "/step-up"), ("POST", "/devices/{device_id}/runs")} <= set(found)
    return found


def ask(client: TestClient, route: tuple[str, str], **more: object) -> tuple[int, str]:
    answer = client.request(route[0], path_of(route[1]), **more)  # type: ignore[arg-type]  # whatever httpx takes
    return answer.status_code, answer.text


def test_no_route_takes_a_request_without_the_token_of_the_session(
    browser: Browser, routes: list[tuple[str, str]]
) -> None:
    client = browser("operator")
    for route in routes:
        if route[1] not in WITHOUT_SESSION - {"/preferences"} and "code" not in route[1]:
            assert ask(client, route)[0] == 403, route
            assert ask(client, route, data={"csrf": "x" * 32})[0] == 403, route


@pytest.mark.parametrize("headers", [EVIL, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}])
def test_no_route_takes_a_request_of_another_site_even_with_the_token(
    browser: Browser, routes: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    client = browser("operator")
    csrf = csrf_of(client)
    for route in routes:
        if "code" not in route[1]:
            status, text = ask(client, route, data={"csrf": csrf}, headers=headers)
            assert status == 403, route
            assert "request_forged" in text, route


def test_no_route_takes_a_request_of_a_stranger(browser: Browser, routes: list[tuple[str, str]]) -> None:
    client = browser()
    for route in routes:
        if route[1] not in WITHOUT_SESSION:
            assert ask(client, route, data={"csrf": ""})[0] == 303, route
        assert ask(client, route, data={"csrf": ""}, headers=EVIL)[0] in {303, 403}, route


@pytest.fixture
def cookies_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths whose requests the server read cookies of. The framework unpacks them for every route, asked for or not."""
    found: list[str] = []
    given: property = vars(HTTPConnection)["cookies"]

    def noted(self: HTTPConnection) -> Any:
        if str(sys._getframe(1).f_globals["__name__"]).startswith("fleet_server."):
            found.append(self.url.path)
        return given.__get__(self)

    monkeypatch.setattr(HTTPConnection, "cookies", property(noted))
    return found


def test_doors_of_devices_know_no_session(browser: Browser, console_app: FastAPI, cookies_read: list[str]) -> None:
    assert set(unsafe_routes(console_app)) >= OF_DEVICES
    known, stranger = browser("operator"), browser()
    assert set(known.cookies) - set(stranger.cookies)
    known.get("/devices")
    assert "/devices" in cookies_read, "nothing would be noted of the doors either"
    code = str(Code("0" * SECRET_CHARS, "0" * FINGERPRINT_CHARS))
    bodies = {
        "/enrol/v1/requests": Device(stranger).request(code),
        "/enrol/v1/renewals": {"link": "d-nobody-knows", "csr": request_of(new_key()), "proof": "0" * 64},
    }
    for method, path in sorted(OF_DEVICES):
        for body, status in ((bodies[path], 403), ({}, 422)):
            answers = [client.request(method, path, json=body, headers=EVIL) for client in (known, stranger)]
            assert [answer.status_code for answer in answers] == [status, status], answers[0].text
            assert answers[0].content == answers[1].content
            assert not any("set-cookie" in answer.headers for answer in answers)
        assert path not in cookies_read


def test_another_site_cannot_sign_a_browser_in_as_somebody_of_its_choice(browser: Browser) -> None:
    """Login CSRF: whoever works on under a stranger's name tells him everything."""
    client = browser()
    for headers in (EVIL, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        answer = client.post("/sign-in", data={"name": "viewer", "password": "correct horse battery"}, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
