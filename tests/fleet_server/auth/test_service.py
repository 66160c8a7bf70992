from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from fleet_server.audit.service import AuditFilter, AuditService
from fleet_server.auth.accounts import Accounts
from fleet_server.auth.errors import SignInBusy
from fleet_server.auth.limits import BURST
from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.auth.service import AuthService, sweep_sessions
from fleet_server.auth.sessions import ABSOLUTE_LIMIT, IDLE_LIMIT, SignedIn
from fleet_server.auth.tries import LOCK_TIME, MAX_TRIES
from fleet_server.db import reading, transaction
from tests.fleet_server.auth.people import NAME, NOW, PASSWORD, SYSTEM, add_person, door


@pytest.fixture
def service(engine: Engine) -> AuthService:
    add_person(engine)
    return AuthService(door(engine))


def sign_in(
    service: AuthService, password: str = PASSWORD, now: datetime = NOW, name: str = "li.wei"
) -> SignedIn | None:
    return service.sign_in(name, password, address="127.0.0.1", user_agent="test", now=now)


def signed_in(service: AuthService, now: datetime = NOW) -> SignedIn:
    result = sign_in(service, now=now)
    assert result is not None
    return result


def audited(engine: Engine) -> list[tuple[str, str]]:
    with reading(engine) as session:
        lines = AuditService(session, "default").page(AuditFilter(), None, 200).items
        return [(line.actor, line.action) for line in reversed(lines)]


def test_the_right_password_opens_a_session_that_knows_the_person(service: AuthService) -> None:
    opened = signed_in(service)
    found = service.resolve(opened.secret, NOW)
    assert found == opened.session
    assert found is not None
    assert (found.actor.name, found.actor.role) == ("li.wei", Role.SUPPORT)


def test_neither_cookie_nor_password_is_in_the_database(service: AuthService, engine: Engine) -> None:
    opened = signed_in(service)
    with reading(engine) as session:
        row = session.exec(select(LoginSession)).one()
    assert opened.secret not in str(row.model_dump())


def test_unknown_person_and_wrong_password_are_refused_alike(service: AuthService) -> None:
    assert sign_in(service, "wrong") is None
    assert sign_in(service, name="nobody") is None


def test_ten_wrong_passwords_lock_the_name_even_for_the_right_one(service: AuthService) -> None:
    for _ in range(MAX_TRIES):
        assert sign_in(service, "wrong") is None
    assert sign_in(service) is None
    assert sign_in(service, now=NOW + LOCK_TIME - timedelta(seconds=1)) is None
    assert sign_in(service, now=NOW + LOCK_TIME) is not None


def test_success_forgets_earlier_wrong_tries(service: AuthService) -> None:
    for _ in range(3):
        for _ in range(MAX_TRIES - 1):
            assert sign_in(service, "wrong") is None
        assert sign_in(service) is not None


def test_tries_at_the_same_moment_cannot_pass_the_limit_together(service: AuthService, engine: Engine) -> None:
    looked_at = []

    class Counting(Passwords):
        def matches(self, password: str, hashed: str | None) -> bool:
            if hashed is not None:
                looked_at.append(password)
            return super().matches(password, hashed)

    counting = AuthService(door(engine, Counting(Passwords.cheap().hasher)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: sign_in(counting, f"wrong{n}"), range(30)))
    assert len(looked_at) == MAX_TRIES


def test_a_session_ends_after_fifteen_idle_minutes(service: AuthService) -> None:
    opened = signed_in(service)
    assert service.resolve(opened.secret, NOW + IDLE_LIMIT) is None


def test_use_keeps_a_session_alive_until_eight_hours(service: AuthService) -> None:
    opened = signed_in(service)
    moment = NOW
    while moment + timedelta(minutes=10) < NOW + ABSOLUTE_LIMIT:
        moment += timedelta(minutes=10)
        assert service.resolve(opened.secret, moment) is not None
    assert service.resolve(opened.secret, NOW + ABSOLUTE_LIMIT) is None


def test_while_nothing_can_be_written_use_keeps_a_session_alive_and_idleness_ends_it(
    service: AuthService, engine: Engine
) -> None:
    opened = signed_in(service)

    def refuse(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE"):
            raise OperationalError(statement, {}, OSError("server closed the connection"))

    event.listen(engine, "before_cursor_execute", refuse)
    try:
        for minutes in (10, 20, 30):
            assert service.resolve(opened.secret, NOW + timedelta(minutes=minutes)) is not None
        assert service.resolve(opened.secret, NOW + timedelta(minutes=30) + IDLE_LIMIT) is None
    finally:
        event.remove(engine, "before_cursor_execute", refuse)
    assert service.resolve(opened.secret, NOW + timedelta(minutes=31)) is not None


def test_signing_in_again_makes_the_earlier_cookie_worthless(service: AuthService) -> None:
    first = signed_in(service)
    second = service.sign_in("li.wei", PASSWORD, address="", user_agent="", now=NOW, replaces=first.secret)
    assert second is not None
    assert second.secret != first.secret
    assert service.resolve(first.secret, NOW) is None


def test_signing_out_ends_the_session(service: AuthService) -> None:
    opened = signed_in(service)
    service.sign_out(opened.secret, now=NOW)
    assert service.resolve(opened.secret, NOW) is None


def test_a_new_password_ends_all_sessions_of_that_person(service: AuthService, engine: Engine) -> None:
    opened = signed_in(service)
    with transaction(engine) as session:
        Accounts(session, SYSTEM, NOW).set_password("li.wei", Passwords.cheap().hash("another-long-one"))
    assert service.resolve(opened.secret, NOW) is None
    assert sign_in(service) is None
    assert sign_in(service, "another-long-one") is not None


def test_another_tenants_operator_cannot_set_a_password(service: AuthService, engine: Engine) -> None:
    stranger = Actor("", "system", Role.OPERATOR, "other", ActorKind.PERSON)
    with transaction(engine) as session:
        Accounts(session, stranger, NOW).set_password("li.wei", Passwords.cheap().hash("another-long-one"))
    assert sign_in(service) is not None


def test_a_new_role_ends_what_was_opened_with_the_old_one(service: AuthService, engine: Engine) -> None:
    opened = signed_in(service)
    with transaction(engine) as session:
        Accounts(session, SYSTEM, NOW).set_role(NAME, Role.VIEWER)
    assert service.resolve(opened.secret, NOW) is None
    assert audited(engine)[-1] == ("system", "role_set")
    assert signed_in(service).session.actor.role is Role.VIEWER


def test_sweeping_removes_only_dead_sessions(service: AuthService, engine: Engine) -> None:
    signed_in(service)
    later = NOW + IDLE_LIMIT
    alive = signed_in(service, later)
    assert sweep_sessions(engine, later) == 1
    assert service.resolve(alive.secret, later) is not None


def test_every_try_is_audited_without_naming_strangers(service: AuthService, engine: Engine) -> None:
    sign_in(service, "wrong")
    sign_in(service, name="my-password-in-the-wrong-field")
    signed_in(service)
    assert audited(engine)[1:] == [("li.wei", "sign_in_refused"), ("unknown", "sign_in_refused"), ("li.wei", "sign_in")]


class Counted(Argon2Hasher):
    """How often something costly was done, whatever for."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.count = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.count += 1
        return super().hash(password, salt=salt)

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002 - the library's name
        self.count += 1
        return super().verify(password, hash)


def test_no_name_can_be_told_from_another_by_how_much_is_hashed(service: AuthService, engine: Engine) -> None:
    """Known, unknown, locked, disabled, without a password yet: one hash each."""
    for name in ("locked", "disabled", "empty"):
        add_person(engine, name)
    with transaction(engine) as session:
        people = {one.name: one for one in session.exec(select(User)).all()}
        people["locked"].locked_until = NOW + LOCK_TIME
        people["disabled"].disabled_at = NOW
        people["empty"].password_hash = ""
    hasher = Counted()
    counting = AuthService(door(engine, Passwords(PasswordHash((hasher,)))))
    spent = {}
    for name in (NAME, "nobody", "locked", "disabled", "empty", ""):
        before = hasher.count
        assert sign_in(counting, "wrong", name=name) is None
        spent[name] = hasher.count - before
    assert set(spent.values()) == {1}, spent


def test_who_has_no_password_yet_is_not_let_in_with_an_empty_one(engine: Engine) -> None:
    add_person(engine)
    with transaction(engine) as session:
        session.exec(select(User)).one().password_hash = ""
    assert sign_in(AuthService(door(engine)), "") is None


def test_a_try_that_there_was_no_room_for_counts_against_nobody(engine: Engine) -> None:
    """Else a flood of others would lock everybody who tries again."""

    class Full(Passwords):
        def matches(self, password: str, hashed: str | None) -> bool:
            raise SignInBusy

    add_person(engine)
    full = AuthService(door(engine, Full(Passwords.cheap().hasher)))
    for _ in range(MAX_TRIES + BURST):
        with pytest.raises(SignInBusy):
            sign_in(full)
    assert sign_in(AuthService(door(engine))) is not None


def test_a_planted_cookie_is_never_taken_over(service: AuthService) -> None:
    """Session fixation: the id in the browser before the sign-in, known to somebody else, is not the one after it."""
    planted = "planted-by-somebody-else"
    opened = service.sign_in(NAME, PASSWORD, address="", user_agent="", now=NOW, replaces=planted)
    assert opened is not None
    assert opened.secret != planted
    assert service.resolve(planted, NOW) is None
