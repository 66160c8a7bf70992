"""A proof that is at most five minutes old: who has one, how it is given, and what guessing at it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

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
from fleet_server.auth.proofs import Proofs
from fleet_server.auth.roles import Role
from fleet_server.auth.service import AuthService
from fleet_server.auth.sessions import ABSOLUTE_LIMIT, STEP_UP_LIMIT, SignedIn
from fleet_server.auth.step_up import PersonOnlyDep, SteppedUpDep, lead_to_step_up
from fleet_server.auth.tries import MAX_TRIES
from fleet_server.db import transaction
from fleet_server.errors import FleetError
from fleet_server.kit.times import utc_now
from tests.fleet_server.auth.people import NOW, PASSWORD, SYSTEM, add_person, door
from tests.fleet_server.factories import settings

LATER = NOW + timedelta(minutes=7)


@dataclass(frozen=True, slots=True)
class Desk:
    """Both services over one door."""

    sign_in: AuthService
    proofs: Proofs


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return desk_with_a_person(engine)


def desk_with_a_person(engine: Engine) -> Desk:
    add_person(engine)
    shared = door(engine)
    return Desk(AuthService(shared), Proofs(shared))


def signed_in(desk: Desk, now: datetime = NOW) -> SignedIn:
    opened = desk.sign_in.sign_in("li.wei", PASSWORD, address="", user_agent="", now=now)
    assert opened is not None
    return opened


def step_up(desk: Desk, secret: str, password: str = PASSWORD, now: datetime = LATER) -> SignedIn | None:
    return desk.proofs.step_up(secret, password, address="", now=now)


def test_a_sign_in_is_a_proof_for_five_minutes_and_not_a_moment_longer(desk: Desk) -> None:
    session = signed_in(desk).session
    assert session.is_stepped_up(NOW)
    assert session.is_stepped_up(NOW + STEP_UP_LIMIT - timedelta(microseconds=1))
    assert not session.is_stepped_up(NOW + STEP_UP_LIMIT)


def test_a_clock_that_was_put_back_makes_no_proof_last_longer(desk: Desk) -> None:
    assert not signed_in(desk).session.is_stepped_up(NOW - timedelta(seconds=1))
    assert not replace(signed_in(desk).session, stepped_up_at=None).is_stepped_up(NOW)


def test_use_alone_renews_no_proof(desk: Desk) -> None:
    opened = signed_in(desk)
    found = desk.sign_in.resolve(opened.secret, LATER)
    assert found is not None
    assert not found.is_stepped_up(LATER)


def test_the_right_password_gives_a_fresh_proof_under_a_new_id(desk: Desk) -> None:
    before = signed_in(desk)
    after = step_up(desk, before.secret)
    assert after is not None
    assert after.secret != before.secret
    assert desk.sign_in.resolve(before.secret, LATER) is None
    found = desk.sign_in.resolve(after.secret, LATER)
    assert found is not None
    assert found.is_stepped_up(LATER)
    assert found.csrf == before.session.csrf


def test_a_proof_makes_no_session_last_beyond_its_eight_hours(desk: Desk) -> None:
    opened, moment = signed_in(desk), NOW
    while moment + timedelta(minutes=10) < NOW + ABSOLUTE_LIMIT:
        moment += timedelta(minutes=10)
        renewed = step_up(desk, opened.secret, now=moment)
        assert renewed is not None
        opened = renewed
    assert opened.until == NOW + ABSOLUTE_LIMIT
    assert desk.sign_in.resolve(opened.secret, NOW + ABSOLUTE_LIMIT) is None


def test_a_wrong_password_proves_nothing(desk: Desk) -> None:
    opened = signed_in(desk)
    assert step_up(desk, opened.secret, "wrong") is None
    found = desk.sign_in.resolve(opened.secret, LATER)
    assert found is not None
    assert not found.is_stepped_up(LATER)


def test_who_guesses_with_a_stolen_cookie_loses_it_and_locks_the_name(desk: Desk) -> None:
    opened = signed_in(desk)
    for number in range(MAX_TRIES):
        assert step_up(desk, opened.secret, f"guess {number}") is None
    assert desk.sign_in.resolve(opened.secret, LATER) is None
    assert step_up(desk, opened.secret) is None
    assert desk.sign_in.sign_in("li.wei", PASSWORD, address="", user_agent="", now=LATER) is None


@pytest.mark.parametrize("secret", ["", "unknown"])
def test_without_a_session_there_is_nothing_to_prove(desk: Desk, secret: str) -> None:
    assert step_up(desk, secret) is None


@pytest.fixture
def client(sqlite_engine: Engine) -> Iterator[TestClient]:
    app = FastAPI()
    app.state.engine = sqlite_engine
    app.state.settings = replace(settings(Path()), url="http://127.0.0.1:8080")
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
    opened = signed_in(desk_with_a_person(sqlite_engine), now)
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
