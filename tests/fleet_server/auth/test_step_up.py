"""A proof that is at most five minutes old: who has one, how it is given, and what guessing at it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import col, update

from fleet_server.auth.accounts import Accounts
from fleet_server.auth.dependencies import passwords
from fleet_server.auth.errors import StepUpNeeded
from fleet_server.auth.models import LoginSession
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.auth.service import AuthService
from fleet_server.auth.sessions import ABSOLUTE_LIMIT, STEP_UP_LIMIT, SignedIn
from fleet_server.auth.step_up import PersonOnlyDep, SteppedUpDep, lead_to_step_up
from fleet_server.auth.tries import MAX_TRIES
from fleet_server.db import transaction
from fleet_server.errors import FleetError
from fleet_server.kit.times import utc_now

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=7)
PASSWORD = "correct-horse-battery"
SYSTEM = Actor("", "system", Role.OPERATOR, "default", ActorKind.PERSON)


@pytest.fixture
def service(engine: Engine) -> AuthService:
    return service_with_a_person(engine)


def service_with_a_person(engine: Engine) -> AuthService:
    passwords = Passwords.cheap()
    with transaction(engine) as session:
        Accounts(session, SYSTEM, NOW).add_person("li.wei", passwords.hash(PASSWORD), Role.SUPPORT)
    return AuthService(engine, passwords)


def signed_in(service: AuthService, now: datetime = NOW) -> SignedIn:
    opened = service.sign_in("li.wei", PASSWORD, address="", user_agent="", now=now)
    assert opened is not None
    return opened


def step_up(service: AuthService, secret: str, password: str = PASSWORD, now: datetime = LATER) -> SignedIn | None:
    return service.step_up(secret, password, address="", now=now)


def test_a_sign_in_is_a_proof_for_five_minutes_and_not_a_moment_longer(service: AuthService) -> None:
    session = signed_in(service).session
    assert session.is_stepped_up(NOW)
    assert session.is_stepped_up(NOW + STEP_UP_LIMIT - timedelta(microseconds=1))
    assert not session.is_stepped_up(NOW + STEP_UP_LIMIT)


def test_a_clock_that_was_put_back_makes_no_proof_last_longer(service: AuthService) -> None:
    assert not signed_in(service).session.is_stepped_up(NOW - timedelta(seconds=1))
    assert not replace(signed_in(service).session, stepped_up_at=None).is_stepped_up(NOW)


def test_use_alone_renews_no_proof(service: AuthService) -> None:
    opened = signed_in(service)
    found = service.resolve(opened.secret, LATER)
    assert found is not None
    assert not found.is_stepped_up(LATER)


def test_the_right_password_gives_a_fresh_proof_under_a_new_id(service: AuthService) -> None:
    before = signed_in(service)
    after = step_up(service, before.secret)
    assert after is not None
    assert after.secret != before.secret
    assert service.resolve(before.secret, LATER) is None
    found = service.resolve(after.secret, LATER)
    assert found is not None
    assert found.is_stepped_up(LATER)
    assert found.csrf == before.session.csrf


def test_a_proof_makes_no_session_last_beyond_its_eight_hours(service: AuthService) -> None:
    opened, moment = signed_in(service), NOW
    while moment + timedelta(minutes=10) < NOW + ABSOLUTE_LIMIT:
        moment += timedelta(minutes=10)
        renewed = step_up(service, opened.secret, now=moment)
        assert renewed is not None
        opened = renewed
    assert opened.until == NOW + ABSOLUTE_LIMIT
    assert service.resolve(opened.secret, NOW + ABSOLUTE_LIMIT) is None


def test_a_wrong_password_proves_nothing(service: AuthService) -> None:
    opened = signed_in(service)
    assert step_up(service, opened.secret, "wrong") is None
    found = service.resolve(opened.secret, LATER)
    assert found is not None
    assert not found.is_stepped_up(LATER)


def test_who_guesses_with_a_stolen_cookie_loses_it_and_locks_the_name(service: AuthService) -> None:
    opened = signed_in(service)
    for number in range(MAX_TRIES):
        assert step_up(service, opened.secret, f"guess {number}") is None
    assert service.resolve(opened.secret, LATER) is None
    assert step_up(service, opened.secret) is None
    assert service.sign_in("li.wei", PASSWORD, address="", user_agent="", now=LATER) is None


@pytest.mark.parametrize("secret", ["", "unknown"])
def test_without_a_session_there_is_nothing_to_prove(service: AuthService, secret: str) -> None:
    assert step_up(service, secret) is None


@pytest.fixture
def client(sqlite_engine: Engine) -> Iterator[TestClient]:
    app = FastAPI()
    app.state.engine = sqlite_engine
    app.state.settings = SimpleNamespace(url="http://127.0.0.1:8080")
    app.dependency_overrides[passwords] = Passwords.cheap
    app.add_exception_handler(StepUpNeeded, lead_to_step_up)

    @app.exception_handler(FleetError)
    def render(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, FleetError)
        return JSONResponse({"code": error.code}, error.status)

    def approve(actor: SteppedUpDep) -> str:
        return actor.name

    def approve_by_program(actor: PersonOnlyDep) -> str:
        return actor.name

    app.api_route("/approve", methods=["GET", "POST"])(approve)
    app.post("/api/approve")(approve_by_program)
    now = utc_now()
    opened = signed_in(service_with_a_person(sqlite_engine), now)
    headers = {"Cookie": f"tillmedic={opened.secret}", "X-CSRF-Token": opened.session.csrf}
    with TestClient(app, base_url="http://127.0.0.1:8080", follow_redirects=False, headers=headers) as client:
        yield client


def grow_old(engine: Engine) -> None:
    with transaction(engine) as session:
        session.exec(update(LoginSession).values({col(LoginSession.stepped_up_at): utc_now() - STEP_UP_LIMIT}))


def test_a_page_behind_it_opens_after_a_fresh_proof_only(client: TestClient, sqlite_engine: Engine) -> None:
    assert client.get("/approve").json() == "li.wei"
    assert client.post("/approve").json() == "li.wei"
    grow_old(sqlite_engine)
    answer = client.get("/approve?run=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/step-up?next=/approve%3Frun%3D1")


@pytest.mark.parametrize(
    ("referer", "wanted"),
    [
        ("http://127.0.0.1:8080/runs/r-1?x=1", "/runs/r-1%3Fx%3D1"),
        ("http://127.0.0.1:8080//evil.example/", "/evil.example/"),
        ("https://evil.example/runs/r-1", "/"),
        ("", "/"),
    ],
)
def test_a_form_leads_to_the_proof_and_back_to_its_page(
    client: TestClient, sqlite_engine: Engine, referer: str, wanted: str
) -> None:
    grow_old(sqlite_engine)
    answer = client.post("/approve", headers={"Referer": referer})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/step-up?next={wanted}")
    fragment = client.post("/approve", headers={"Referer": referer, "HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["hx-redirect"]) == (403, f"/step-up?next={wanted}")


@pytest.mark.parametrize("role", list(Role))
def test_no_token_ever_counts_as_a_person_who_proved_it(client: TestClient, sqlite_engine: Engine, role: Role) -> None:
    with transaction(sqlite_engine) as session:
        token = Accounts(session, SYSTEM, utc_now()).issue_token("program", role)
    answer = client.post("/api/approve", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()) == (403, {"code": "person_needed"})
