"""Who knows a name and nothing else locks it for strangers, and not for the person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.auth.browsers import BROWSER_KEPT, MAX_BROWSERS, mark
from fleet_server.auth.models import KnownBrowser, User
from fleet_server.auth.people import People
from fleet_server.auth.service import AuthService, sweep_sessions
from fleet_server.auth.sessions import actor_of, digest
from fleet_server.auth.tries import LOCK_TIME, MAX_TRIES, Tries
from fleet_server.db import reading, transaction
from tests.fleet_server.auth.people import NAME, NOW, PASSWORD, SYSTEM, add_person, door

OTHER = "wang.fang"


@pytest.fixture(name="mine")
def _mine(engine: Engine) -> str:
    """The mark of a browser in which the person signed in before."""
    add_person(engine)
    add_person(engine, OTHER)
    return marked(engine, NAME)


def marked(engine: Engine, name: str, brought: str = "") -> str:
    with reading(engine) as session:
        person = session.exec(select(User).where(User.name == name)).one()
    return mark(engine, actor_of(person), brought, NOW)


def sign_in(engine: Engine, password: str, secret: str = "", after: timedelta = timedelta()) -> bool:
    opened = door(engine)
    knocks = type(opened)(
        opened.engine, opened.tenant_id, opened.passwords, opened.factors, opened.uses, opened.limits,
        digest(secret) if secret else "",
    )  # fmt: skip
    made = AuthService(knocks).sign_in(NAME, password, address="192.0.2.1", user_agent="", now=NOW + after)
    return made is not None


def lock(engine: Engine, secret: str = "") -> None:
    for _ in range(MAX_TRIES):
        assert not sign_in(engine, "wrong", secret)


def test_ten_wrong_tries_of_strangers_lock_strangers_out_and_not_the_person(engine: Engine, mine: str) -> None:
    lock(engine)
    assert not sign_in(engine, PASSWORD)
    assert sign_in(engine, PASSWORD, mine)
    # That the person came in gives strangers no tries.
    assert not sign_in(engine, PASSWORD)
    assert sign_in(engine, PASSWORD, after=LOCK_TIME + timedelta(seconds=1))


def test_ten_wrong_tries_from_a_known_browser_lock_that_browser_for_half_an_hour(engine: Engine, mine: str) -> None:
    lock(engine, mine)
    assert not sign_in(engine, PASSWORD, mine)
    assert sign_in(engine, PASSWORD)
    assert not sign_in(engine, PASSWORD, mine)
    assert sign_in(engine, PASSWORD, mine, after=LOCK_TIME + timedelta(seconds=1))


def test_nine_wrong_tries_and_the_right_one_begin_anew_where_they_were_counted(engine: Engine, mine: str) -> None:
    for _ in range(2):
        for _ in range(MAX_TRIES - 1):
            assert not sign_in(engine, "wrong", mine)
        assert sign_in(engine, PASSWORD, mine)


def test_the_mark_of_another_person_or_a_made_up_one_is_a_strangers(engine: Engine, mine: str) -> None:
    lock(engine)
    for secret in (marked(engine, OTHER), "x" * 43, mine[:-1] + ("a" if mine[-1] != "a" else "b")):
        assert not sign_in(engine, PASSWORD, secret)
    assert sign_in(engine, PASSWORD, mine)


def test_a_browser_that_two_people_use_keeps_one_mark_and_a_made_up_one_is_not_taken(engine: Engine, mine: str) -> None:
    assert marked(engine, OTHER, mine) == mine
    planted = "x" * 43
    assert marked(engine, OTHER, planted) != planted


def test_of_one_person_a_bounded_number_of_browsers_is_known_those_used_last(engine: Engine, mine: str) -> None:
    for _ in range(MAX_BROWSERS + 2):
        marked(engine, OTHER)
    with reading(engine) as session:
        rows = session.exec(select(KnownBrowser)).all()
    assert len(rows) == MAX_BROWSERS + 1
    assert digest(mine) in {row.id_sha256 for row in rows}


def test_a_browser_that_nobody_signs_in_with_is_forgotten(engine: Engine, mine: str) -> None:
    sweep_sessions(engine, NOW + BROWSER_KEPT)
    lock(engine)
    assert sign_in(engine, PASSWORD, mine)
    sweep_sessions(engine, NOW + BROWSER_KEPT + timedelta(seconds=1))
    assert not sign_in(engine, PASSWORD, mine)


def test_who_unlocks_a_person_unlocks_the_browsers_too(engine: Engine, mine: str) -> None:
    lock(engine, mine)
    with transaction(engine) as session:
        people = People(session, SYSTEM, NOW)
        people.unlock(people.id_of(NAME))
    assert sign_in(engine, PASSWORD, mine)


def test_a_try_whose_proof_was_not_looked_at_is_taken_back_where_it_was_counted(engine: Engine, mine: str) -> None:
    tries = Tries(engine, SYSTEM.tenant_id, digest(mine))
    for _ in range(MAX_TRIES):
        assert tries.count(NAME, NOW) is not None
        tries.take_back(NAME)
    with reading(engine) as session:
        assert session.exec(select(KnownBrowser.failed_count)).all() == [0]
        assert session.exec(select(User.failed_count).where(User.name == NAME)).one() == 0
