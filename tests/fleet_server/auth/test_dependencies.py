from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from fleet_server.auth.accounts import Accounts
from fleet_server.auth.dependencies import (
    ActorDep,
    ConsoleActorDep,
    cookie_name,
    lead_to_sign_in,
    passwords,
    require,
    set_session_cookie,
)
from fleet_server.auth.errors import SignInNeeded
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.roles import Actor, ActorKind, Permission, Role
from fleet_server.auth.service import AuthService
from fleet_server.auth.sessions import SignedIn
from fleet_server.db import transaction
from fleet_server.errors import FleetError
from fleet_server.kit.times import utc_now
from tests.fleet_server.auth.people import door as doorkeeping_of
from tests.fleet_server.factories import settings

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
SYSTEM = Actor("", "system", Role.OPERATOR, "default", ActorKind.PERSON)


def make_app(engine: Engine, url: str) -> FastAPI:
    app = FastAPI()
    app.state.engine = engine
    app.state.settings = replace(settings(Path()), url=url)
    app.dependency_overrides[passwords] = Passwords.cheap
    app.add_exception_handler(SignInNeeded, lead_to_sign_in)

    @app.exception_handler(FleetError)
    def render(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, FleetError)
        return JSONResponse({"code": error.code}, error.status)

    def who(actor: ActorDep) -> str:
        return actor.name

    def act(actor: ActorDep) -> str:
        return require(actor, Permission.REQUEST_FIX).name

    def page(actor: ConsoleActorDep) -> str:
        return actor.name

    app.get("/api/who")(who)
    app.post("/api/act")(act)
    app.get("/page")(page)
    app.post("/page")(page)
    return app


@dataclass(frozen=True, slots=True)
class Door:
    client: TestClient
    engine: Engine
    signed_in: SignedIn
    viewer_token: str
    support_token: str

    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"tillmedic={self.signed_in.secret}"}


@pytest.fixture
def door(sqlite_engine: Engine) -> Iterator[Door]:
    now = utc_now()
    with transaction(sqlite_engine) as session:
        accounts = Accounts(session, SYSTEM, now)
        accounts.add_person("li.wei", Passwords.cheap().hash("correct-horse"), Role.SUPPORT)
        viewer, support = (accounts.issue_token(role.value, role) for role in (Role.VIEWER, Role.SUPPORT))
    service = AuthService(doorkeeping_of(sqlite_engine))
    signed_in = service.sign_in("li.wei", "correct-horse", address="", user_agent="", now=now)
    assert signed_in is not None
    app = make_app(sqlite_engine, "http://127.0.0.1:8080")
    with TestClient(app, base_url="http://127.0.0.1:8080", follow_redirects=False) as client:
        yield Door(client, sqlite_engine, signed_in, viewer, support)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("header", [{}, bearer("tm_unknown"), bearer("x" * 5000), {"Authorization": "Basic eDp5"}])
def test_without_a_known_token_nobody_gets_in(door: Door, header: dict[str, str]) -> None:
    answer = door.client.get("/api/who", headers=header)
    assert (answer.status_code, answer.json()) == (401, {"code": "not_signed_in"})


def test_a_token_says_who_asks(door: Door) -> None:
    assert door.client.get("/api/who", headers=bearer(door.viewer_token)).json() == "viewer"
    assert door.client.get("/api/who", headers=bearer(door.viewer_token)).json() == "viewer"


def test_a_role_that_is_too_low_is_refused(door: Door) -> None:
    assert door.client.post("/api/act", headers=bearer(door.viewer_token)).json() == {"code": "role_too_low"}
    assert door.client.post("/api/act", headers=bearer(door.support_token)).json() == "support"


def test_revoked_and_expired_tokens_are_refused(door: Door) -> None:
    with transaction(door.engine) as session:
        accounts = Accounts(session, SYSTEM, utc_now())
        assert accounts.revoke_token("viewer")
        assert not accounts.revoke_token("viewer")
        old = accounts.issue_token("old", Role.VIEWER, datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=1))
    for token in (door.viewer_token, old):
        assert door.client.get("/api/who", headers=bearer(token)).status_code == 401


def test_a_page_without_session_leads_to_the_sign_in_page_and_back(door: Door) -> None:
    answer = door.client.get("/page?q=%E5%95%86")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/page%3Fq%3D%25E5%2595%2586"
    fragment = door.client.get("/page", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/sign-in?next=/page")


def test_another_site_that_leads_here_knocks_again_from_our_own_page(door: Door) -> None:
    """A strict cookie is not sent with the first request."""
    cross = {"Sec-Fetch-Site": "cross-site"}
    answer = door.client.get("/page?phone=1&x='\"><script>", headers=cross)
    assert answer.status_code == 200
    assert 'content="0; url=/page?phone=1&amp;x=' in answer.text
    assert "<script>" not in answer.text
    again = door.client.get("/page", headers={"Sec-Fetch-Site": "same-origin"})
    assert again.status_code == 303
    assert door.client.get("/page", headers={**cross, **door.cookie()}).json() == "li.wei"


@pytest.mark.parametrize("path", ["//evil.example/page", "/%5Cevil.example/page", "/%5C/evil.example"])
def test_the_way_back_never_leads_to_another_site(door: Door, path: str) -> None:
    app = door.client.app
    assert isinstance(app, FastAPI)

    @app.get("/{rest:path}")
    def anything(actor: ConsoleActorDep, rest: str) -> str:
        return rest + actor.name

    answer = door.client.get(f"http://127.0.0.1:8080{path}")
    wanted = unquote(answer.headers["location"].removeprefix("/sign-in?next="))
    assert wanted.startswith(("/evil.example", "/%5C"))


def test_a_session_cookie_opens_pages_but_not_the_api(door: Door) -> None:
    assert door.client.get("/page", headers=door.cookie()).json() == "li.wei"
    assert door.client.get("/api/who", headers=door.cookie()).status_code == 401


def test_an_unsafe_request_needs_the_sessions_token(door: Door) -> None:
    csrf = door.signed_in.session.csrf
    assert door.client.post("/page", headers=door.cookie()).json() == {"code": "request_forged"}
    assert door.client.post("/page", headers=door.cookie(), data={"csrf": "wrong"}).status_code == 403
    assert door.client.post("/page", headers=door.cookie(), data={"csrf": csrf}).json() == "li.wei"
    assert door.client.post("/page", headers={**door.cookie(), "X-CSRF-Token": csrf}).json() == "li.wei"
    assert door.client.post("/page", headers=door.cookie(), files={"csrf": b"x"}).status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8081"])
def test_an_unsafe_request_from_another_site_is_refused_even_with_the_token(door: Door, origin: str) -> None:
    headers = {**door.cookie(), "X-CSRF-Token": door.signed_in.session.csrf, "Origin": origin}
    assert door.client.post("/page", headers=headers).json() == {"code": "request_forged"}
    assert door.client.post("/page", headers={**headers, "Origin": "http://127.0.0.1:8080"}).json() == "li.wei"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_states_another_site_without_naming_it_is_refused_too(door: Door, site: str) -> None:
    headers = {**door.cookie(), "X-CSRF-Token": door.signed_in.session.csrf, "Sec-Fetch-Site": site}
    assert door.client.post("/page", headers=headers).json() == {"code": "request_forged"}
    assert door.client.post("/page", headers={**headers, "Sec-Fetch-Site": "same-origin"}).json() == "li.wei"


@pytest.mark.parametrize(("url", "name"), [("http://127.0.0.1:1", "tillmedic"), ("https://x", "__Host-tillmedic")])
def test_the_cookie_is_hidden_from_scripts_and_bound_to_the_host_on_https(
    sqlite_engine: Engine, url: str, name: str
) -> None:
    app = make_app(sqlite_engine, url)

    @app.get("/cookie")
    def give(request: Request) -> JSONResponse:
        response = JSONResponse(cookie_name(request))
        set_session_cookie(request, response, "s", until=NOW + timedelta(hours=1), now=NOW)
        return response

    with TestClient(app) as client:
        answer = client.get("/cookie")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{name}=s; ")
    assert {"HttpOnly", "Path=/", "SameSite=strict", "Max-Age=3600"} <= set(cookie.split("; "))
    assert ("Secure" in cookie) == url.startswith("https")
    assert "Domain" not in cookie
