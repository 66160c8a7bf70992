"""The second factor against somebody who has the password, a code that was seen, a stolen cookie, or patience."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select, update

from fleet_server.audit.models import AuditEntry
from fleet_server.auth.errors import SecretUnreadable, TooManyTries
from fleet_server.auth.limits import BURST
from fleet_server.auth.models import RecoveryCode, User
from fleet_server.auth.proofs import SETTING_UP, Proofs
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.service import AuthService
from fleet_server.auth.sessions import SignedIn, Stage
from fleet_server.auth.tries import LOCK_TIME, MAX_TRIES
from fleet_server.db import reading, transaction
from tests.fleet_server.auth.people import NAME, NOW, PASSWORD, add_person, code_of, door

STEP = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Desk:
    sign_in: AuthService
    proofs: Proofs
    engine: Engine

    def password(self, now: datetime = NOW, password: str = PASSWORD, name: str = NAME) -> SignedIn | None:
        return self.sign_in.sign_in(name, password, address="192.0.2.1", user_agent="", now=now)

    def after_password(self, now: datetime = NOW) -> SignedIn:
        opened = self.password(now)
        assert opened is not None
        return opened

    def code(self, secret: str, code: str, now: datetime = NOW, address: str = "192.0.2.1") -> SignedIn | None:
        return self.proofs.give_code(secret, code, address=address, now=now)


@dataclass(frozen=True, slots=True)
class Enrolled:
    desk: Desk
    secret: str  # in the telephone
    recovery_codes: tuple[str, ...]
    cookie: str
    at: datetime  # nothing that was shown up to here is good any more


@pytest.fixture
def desk(engine: Engine, tmp_path: Path) -> Desk:
    add_person(engine)
    shared = door(engine, folder=tmp_path, is_required=True)
    return Desk(AuthService(shared), Proofs(shared), engine)


@pytest.fixture
def enrolled(desk: Desk) -> Enrolled:
    return enrol(desk)


def enrol(desk: Desk, cookie: str | None = None, now: datetime = NOW) -> Enrolled:
    cookie = cookie or desk.after_password(now).secret
    assert desk.proofs.begin_set_up(cookie, now=now)
    begun = desk.proofs.begun_set_up(cookie, now)
    assert begun is not None
    done = desk.proofs.confirm_set_up(cookie, code_of(begun.secret, now), address="", now=now)
    assert done is not None
    return Enrolled(desk, begun.secret, done.recovery_codes, done.signed_in.secret, now + 2 * STEP)


def test_a_password_alone_opens_nothing_but_the_page_for_setting_up(desk: Desk) -> None:
    opened = desk.after_password()
    assert opened.session.stage is Stage.ENROL
    assert desk.sign_in.resolve(opened.secret, NOW) is None
    assert desk.sign_in.resolve(opened.secret, NOW, SETTING_UP) is not None
    assert not opened.session.is_stepped_up(NOW)


def test_a_first_code_of_the_new_secret_lets_in_under_a_new_id(desk: Desk) -> None:
    before = desk.after_password()
    after = enrol(desk, before.secret)
    assert desk.sign_in.resolve(before.secret, NOW, SETTING_UP) is None
    found = desk.sign_in.resolve(after.cookie, NOW)
    assert found is not None
    assert found.is_stepped_up(NOW)
    assert found.has_second_factor
    assert found.csrf != before.session.csrf


def test_who_has_a_second_factor_needs_a_code_after_the_password(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    half = desk.after_password(now)
    assert half.session.stage is Stage.CODE
    assert desk.sign_in.resolve(half.secret, now) is None
    assert desk.sign_in.resolve(half.secret, now, SETTING_UP) is None
    full = desk.code(half.secret, code_of(enrolled.secret, now), now)
    assert full is not None
    assert desk.sign_in.resolve(full.secret, now) is not None
    assert full.secret != half.secret
    assert desk.sign_in.resolve(half.secret, now, frozenset(Stage)) is None


def test_a_second_factor_that_is_not_required_is_still_asked_of_who_has_one(engine: Engine, tmp_path: Path) -> None:
    add_person(engine)
    shared = door(engine, folder=tmp_path)
    desk = Desk(AuthService(shared), Proofs(shared), engine)
    first = desk.after_password()
    assert first.session.stage is Stage.OPEN
    enrol(desk, first.secret)
    assert desk.after_password(NOW + STEP).session.stage is Stage.CODE


def test_a_code_that_was_used_is_refused_to_everybody_who_saw_it(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    code = code_of(enrolled.secret, now)
    assert desk.code(desk.after_password(now).secret, code, now) is not None
    thief = desk.after_password(now)
    assert desk.code(thief.secret, code, now) is None
    assert desk.code(thief.secret, code, now + STEP) is None
    assert desk.code(thief.secret, code_of(enrolled.secret, now, steps=-1), now) is None


def test_a_code_that_set_up_the_factor_signs_nobody_in(desk: Desk) -> None:
    done = enrol(desk)
    half = desk.after_password()
    assert desk.code(half.secret, code_of(done.secret, NOW)) is None


def test_one_code_lets_in_one_of_many_who_send_it_at_once(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    halves = [desk.after_password(now).secret for _ in range(6)]
    code = code_of(enrolled.secret, now)
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda secret: desk.code(secret, code, now), halves))
    assert sum(one is not None for one in opened) == 1


def test_who_has_the_password_has_ten_guesses_at_the_code_and_not_ten_for_each_sign_in(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    guessed = 0
    for number in range(3 * MAX_TRIES):
        half = desk.password(now)
        if half is None:
            break
        guessed += 1
        assert desk.code(half.secret, f"{number:06d}"[-5:], now, address=f"192.0.2.{number}") is None
    assert guessed <= MAX_TRIES // 2
    assert desk.password(now + LOCK_TIME - timedelta(seconds=1)) is None
    assert desk.password(now + LOCK_TIME) is not None


def test_guessing_at_one_half_session_ends_it_at_the_tenth(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    half = desk.after_password(now)
    for number in range(MAX_TRIES - 1):
        assert desk.code(half.secret, f"guess{number}", now, address=f"192.0.2.{number}") is None
    assert desk.code(half.secret, code_of(enrolled.secret, now), now) is None
    assert desk.sign_in.resolve(half.secret, now, frozenset(Stage)) is None


def test_guesses_from_one_address_run_out_whatever_name_they_are_at(desk: Desk) -> None:
    for number in range(BURST):
        assert desk.password(name=f"somebody{number}") is None
    with pytest.raises(TooManyTries):
        desk.password(name="somebody else")
    with pytest.raises(TooManyTries):
        desk.password()


def test_a_half_session_ends_after_five_minutes(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    half = desk.after_password(now)
    later = now + timedelta(minutes=5)
    assert desk.code(half.secret, code_of(enrolled.secret, later), later) is None


def test_a_half_session_cannot_swap_the_second_factor_nor_step_up(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    half = desk.after_password(now)
    assert not desk.proofs.begin_set_up(half.secret, now=now)
    assert desk.proofs.begun_set_up(half.secret, now) is None
    code = code_of(enrolled.secret, now)
    assert desk.proofs.confirm_set_up(half.secret, code, address="", now=now) is None
    assert desk.proofs.step_up(half.secret, code, address="", now=now) is None


def test_a_recovery_code_lets_in_once(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    first, second = enrolled.recovery_codes[:2]
    assert desk.code(desk.after_password(now).secret, first.upper(), now) is not None
    assert desk.code(desk.after_password(now).secret, first, now) is None
    assert desk.code(desk.after_password(now).secret, second, now) is not None
    with reading(desk.engine) as session:
        user_id = session.exec(select(User.id)).one()
        assert AuthRepository(session).count_recovery_codes(user_id) == 8


def test_a_recovery_code_of_somebody_else_lets_nobody_in(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    add_person(desk.engine, "wang.fang")
    opened = desk.password(now, name="wang.fang")
    assert opened is not None
    enrol(desk, opened.secret, now)
    half = desk.password(now, name="wang.fang")
    assert half is not None
    assert desk.code(half.secret, enrolled.recovery_codes[0], now) is None
    assert desk.code(half.secret, code_of(enrolled.secret, now), now) is None


def test_the_database_holds_neither_secret_nor_recovery_codes(enrolled: Enrolled) -> None:
    with reading(enrolled.desk.engine) as session:
        person = session.exec(select(User)).one()
        rows = session.exec(select(RecoveryCode)).all()
    kept = str(person.model_dump()) + str([row.model_dump() for row in rows])
    assert enrolled.secret not in kept
    assert not any(code in kept for code in enrolled.recovery_codes)


def test_a_secret_that_was_copied_into_another_row_signs_nobody_in(enrolled: Enrolled) -> None:
    """Whoever can write to the database gives the approver his own second factor, and knows the password."""
    desk, now = enrolled.desk, enrolled.at
    add_person(desk.engine, "wang.fang")
    with transaction(desk.engine) as session:
        own = session.exec(select(User.totp_sealed).where(User.name == NAME)).one()
        session.exec(update(User).where(col(User.name) == "wang.fang").values(totp_sealed=own))
    half = desk.password(now, name="wang.fang")
    assert half is not None
    with pytest.raises(SecretUnreadable):
        desk.code(half.secret, code_of(enrolled.secret, now), now)


def test_a_fresh_proof_of_who_has_a_second_factor_is_a_code_and_not_the_password(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    assert desk.proofs.step_up(enrolled.cookie, PASSWORD, address="", now=now) is None
    renewed = desk.proofs.step_up(enrolled.cookie, code_of(enrolled.secret, now), address="", now=now)
    assert renewed is not None
    assert renewed.session.is_stepped_up(now)
    assert desk.proofs.step_up(renewed.secret, code_of(enrolled.secret, now), address="", now=now) is None


def test_a_new_second_factor_replaces_the_old_one_and_ends_all_other_sessions(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    other = desk.code(desk.after_password(now).secret, code_of(enrolled.secret, now), now)
    assert other is not None
    again = enrol(desk, enrolled.cookie, now)
    assert desk.sign_in.resolve(other.secret, now) is None
    assert desk.sign_in.resolve(again.cookie, now) is not None
    later = again.at
    half = desk.after_password(later)
    assert desk.code(half.secret, code_of(enrolled.secret, later), later) is None
    assert desk.code(half.secret, enrolled.recovery_codes[0], later) is None
    assert desk.code(half.secret, again.recovery_codes[0], later) is not None


def test_the_old_one_counts_until_the_new_one_is_confirmed(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    assert desk.proofs.begin_set_up(enrolled.cookie, now=now)
    assert desk.code(desk.after_password(now).secret, code_of(enrolled.secret, now), now) is not None


def test_a_wrong_first_code_sets_up_nothing(desk: Desk) -> None:
    opened = desk.after_password()
    desk.proofs.begin_set_up(opened.secret, now=NOW)
    assert desk.proofs.confirm_set_up(opened.secret, "000000x", address="", now=NOW) is None
    assert desk.sign_in.resolve(opened.secret, NOW) is None
    assert desk.after_password().session.stage is Stage.ENROL


def test_each_step_is_written_down(enrolled: Enrolled) -> None:
    desk, now = enrolled.desk, enrolled.at
    half = desk.after_password(now)
    desk.code(half.secret, "wrong", now)
    desk.code(half.secret, code_of(enrolled.secret, now), now)
    with reading(desk.engine) as session:
        rows = session.exec(select(AuditEntry).order_by(col(AuditEntry.id))).all()
    assert [row.action for row in rows[1:]] == ["second_factor_set", "sign_in", "code_refused", "sign_in"]
    assert rows[-1].data == {"second_factor": "code"}
