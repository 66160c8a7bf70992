"""Every unsafe route of the console, found in the program itself, against requests that another site makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.test_doors import csrf_of

SAFE = {"GET", "HEAD", "OPTIONS"}
EVIL = {"Origin": "https://evil.example"}
# Before anybody is known there is no session whose token could be asked for: the browser's word on the origin decides.
WITHOUT_SESSION = {"/sign-in", "/preferences", "/set-up"}


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
    found = list(unsafe_routes(console_app))
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


def test_another_site_cannot_sign_a_browser_in_as_somebody_of_its_choice(browser: Browser) -> None:
    """Login CSRF: whoever works on under a stranger's name tells him everything."""
    client = browser()
    for headers in (EVIL, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        answer = client.post("/sign-in", data={"name": "viewer", "password": "correct horse battery"}, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
