"""Who manages whom, and what is left of a session when something about its person changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.auth.errors import (
    LinkTaken,
    NameTaken,
    NameUnusable,
    NotOneself,
    PasswordTooWeak,
    PersonAboveYou,
    PersonUnknown,
)
from fleet_server.auth.models import User
from fleet_server.auth.own_account import OwnAccount
from fleet_server.auth.own_password import OwnPassword
from fleet_server.auth.people import SET_UP_LIMIT, Known, People
from fleet_server.auth.proofs import Proofs
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.auth.second_factor import SecondFactors
from fleet_server.auth.secret_box import new_key_line
from fleet_server.auth.service import AuthService, Doorkeeping
from fleet_server.auth.sessions import Place, SignedIn, Stage
from fleet_server.auth.tries import MAX_TRIES
from fleet_server.db import reading, transaction
from tests.fleet_server.auth.people import NAME, NOW, PASSWORD, SYSTEM, add_person, code_of, door

T = TypeVar("T")
NEW = "violet-harbour-anvil-92"
HERE = Place("192.0.2.1", "test")


@dataclass(frozen=True, slots=True)
class Office:
    engine: Engine
    door: Doorkeeping

    def signed_in(self, password: str = PASSWORD, name: str = NAME, now: datetime = NOW) -> SignedIn | None:
        return AuthService(self.door).sign_in(name, password, address="192.0.2.1", user_agent="", now=now)

    def cookie(self) -> str:
        opened = self.signed_in()
        assert opened is not None
        return opened.secret

    def is_open(self, secret: str, now: datetime = NOW) -> bool:
        return AuthService(self.door).resolve(secret, now) is not None

    def manage(self, deed: Callable[[People], T], actor: Actor = SYSTEM, now: datetime = NOW) -> T:
        """As the console does: in a transaction that keeps to the actor's tenant."""
        with transaction(self.engine, None if actor is SYSTEM else actor.tenant_id) as session:
            return deed(People(session, actor, now))

    def known(self, name: str = NAME) -> Known:
        return self.manage(lambda people: people.find(people.id_of(name)))

    def set_up(self, name: str, code: str, new: str = NEW, now: datetime = NOW) -> SignedIn | None:
        return OwnPassword(self.door).set_up(name, code, new, new, place=HERE, now=now)

    def change(self, secret: str, current: str, new: str = NEW) -> SignedIn | None:
        return OwnPassword(self.door).change(secret, current, new, new, address="192.0.2.1", now=NOW)


@pytest.fixture
def office(engine: Engine, tmp_path: Path) -> Office:
    add_person(engine)
    return Office(engine, door(engine, folder=tmp_path))


def actor(role: Role, person_id: str = "u-admin", tenant: str = "default") -> Actor:
    return Actor(person_id, "admin", role, tenant, ActorKind.PERSON)


def test_a_new_person_chooses_a_password_with_a_code_that_is_good_once(office: Office) -> None:
    _, code = office.manage(lambda people: people.add("wang.fang", Role.VIEWER))
    assert office.signed_in("", "wang.fang") is None
    opened = office.set_up("wang.fang", code.upper())
    assert opened is not None
    assert office.is_open(opened.secret)
    assert office.signed_in(NEW, "wang.fang") is not None
    assert office.set_up("wang.fang", code, "another-quiet-lantern-7") is None
    assert office.signed_in(NEW, "wang.fang") is not None


def test_a_code_lapses_and_is_replaced_by_the_next(office: Office) -> None:
    person_id, first = office.manage(lambda people: people.add("wang.fang", Role.VIEWER))
    assert office.set_up("wang.fang", first, now=NOW + SET_UP_LIMIT) is None
    second = office.manage(lambda people: people.new_set_up_code(person_id))
    assert office.set_up("wang.fang", first) is None
    assert office.set_up("wang.fang", second) is not None


def test_guessing_at_a_code_locks_the_name(office: Office) -> None:
    _, code = office.manage(lambda people: people.add("wang.fang", Role.VIEWER))
    for number in range(MAX_TRIES):
        assert office.set_up("wang.fang", f"guess-{number}") is None
    assert office.set_up("wang.fang", code) is None


@pytest.mark.parametrize("name", [NAME, "nobody"])
def test_without_a_code_there_is_nothing_to_set_up(office: Office, name: str) -> None:
    assert office.set_up(name, "") is None
    assert office.signed_in() is not None


def test_a_code_of_somebody_else_sets_up_nobody(office: Office) -> None:
    _, code = office.manage(lambda people: people.add("wang.fang", Role.VIEWER))
    office.manage(lambda people: people.add("zhao.min", Role.OPERATOR))
    assert office.set_up("zhao.min", code) is None


def test_a_forgotten_password_is_replaced_and_the_second_factor_stays(office: Office) -> None:
    secret = enrol(office)
    code = office.manage(lambda people: people.new_set_up_code(people.id_of(NAME)))
    opened = office.set_up(NAME, code)
    assert opened is not None
    assert opened.session.stage is Stage.CODE
    later = NOW + timedelta(minutes=1)
    shown = code_of(secret, later)
    assert Proofs(office.door).give_code(opened.secret, shown, address="", now=later) is not None


def enrol(office: Office) -> str:
    cookie, proofs = office.cookie(), Proofs(office.door)
    proofs.begin_set_up(cookie, now=NOW)
    begun = proofs.begun_set_up(cookie, NOW)
    assert begun is not None
    assert proofs.confirm_set_up(cookie, code_of(begun.secret, NOW), address="", now=NOW) is not None
    return begun.secret


def test_a_weak_password_is_refused_before_anything_is_asked_or_spent(office: Office) -> None:
    _, code = office.manage(lambda people: people.add("wang.fang", Role.VIEWER))
    with pytest.raises(PasswordTooWeak, match="too_short"):
        office.set_up("wang.fang", code, "short")
    with pytest.raises(PasswordTooWeak, match="guessable"):
        office.change(office.cookie(), PASSWORD, "password1234")
    assert office.set_up("wang.fang", code) is not None


def test_a_cookie_that_was_stolen_is_worth_nothing_after_a_new_password(office: Office) -> None:
    mine, stolen = office.cookie(), office.cookie()
    renewed = office.change(mine, PASSWORD)
    assert renewed is not None
    assert not office.is_open(stolen)
    assert not office.is_open(mine)
    assert office.is_open(renewed.secret)
    assert office.signed_in() is None
    assert office.signed_in(NEW) is not None


def test_who_has_only_the_cookie_cannot_change_the_password(office: Office) -> None:
    stolen = office.cookie()
    for number in range(MAX_TRIES):
        assert office.change(stolen, f"guess {number}") is None
    assert not office.is_open(stolen)
    assert office.change(stolen, PASSWORD) is None


@pytest.mark.parametrize("deed", ["disable", "reset_second_factor", "end_sessions"])
def test_a_cookie_that_was_stolen_is_worth_nothing_after(office: Office, deed: str) -> None:
    stolen = office.cookie()
    office.manage(lambda people: getattr(people, deed)(people.id_of(NAME)))
    assert not office.is_open(stolen)


def test_a_cookie_that_was_stolen_is_worth_nothing_after_a_new_role(office: Office) -> None:
    stolen = office.cookie()
    office.manage(lambda people: people.set_role(people.id_of(NAME), Role.SUPPORT))
    assert office.is_open(stolen)
    office.manage(lambda people: people.set_role(people.id_of(NAME), Role.VIEWER))
    assert not office.is_open(stolen)


def test_a_disabled_person_is_not_let_in_by_any_door_until_enabled(office: Office) -> None:
    person_id, code = office.manage(lambda people: people.add("wang.fang", Role.VIEWER))
    office.manage(lambda people: people.disable(person_id))
    assert office.set_up("wang.fang", code) is None
    office.manage(lambda people: people.disable(people.id_of(NAME)))
    assert office.signed_in() is None
    office.manage(lambda people: people.enable(people.id_of(NAME)))
    assert office.signed_in() is not None


def test_unlocking_forgets_wrong_tries(office: Office) -> None:
    for _ in range(MAX_TRIES):
        assert office.signed_in("wrong") is None
    assert office.known().is_locked
    assert office.signed_in() is None
    office.manage(lambda people: people.unlock(people.id_of(NAME)))
    assert office.signed_in() is not None


def test_after_a_reset_the_old_telephone_and_its_recovery_codes_are_worth_nothing(office: Office) -> None:
    enrol(office)
    assert office.known().has_second_factor
    office.manage(lambda people: people.reset_second_factor(people.id_of(NAME)))
    assert not office.known().has_second_factor
    opened = office.signed_in()
    assert opened is not None
    assert opened.session.stage is Stage.OPEN


def test_one_session_is_ended_and_the_others_go_on(office: Office) -> None:
    first, second = office.cookie(), office.cookie()
    mine = office.known()
    assert len(mine.sessions) == 2
    ended = next(one for one in mine.sessions if one.id_sha256 != mine.sessions[0].id_sha256)
    OwnAccount(office.engine).end_sessions(actor(Role.VIEWER, mine.id), ended.id_sha256, NOW)
    assert [office.is_open(first), office.is_open(second)].count(True) == 1


def test_nobody_ends_sessions_of_others_by_naming_them_as_his_own(office: Office) -> None:
    add_person(office.engine, "wang.fang", Role.VIEWER)
    cookie = office.cookie()
    victim = office.known().sessions[0].id_sha256
    thief = actor(Role.VIEWER, office.known("wang.fang").id)
    OwnAccount(office.engine).end_sessions(thief, victim, NOW)
    assert office.is_open(cookie)
    with pytest.raises(PersonAboveYou):
        office.manage(lambda people: people.end_sessions(people.id_of(NAME)), thief)


DEEDS: dict[str, Callable[[People, str], object]] = {
    "disable": lambda people, one: people.disable(one),
    "enable": lambda people, one: people.enable(one),
    "unlock": lambda people, one: people.unlock(one),
    "reset": lambda people, one: people.reset_second_factor(one),
    "code": lambda people, one: people.new_set_up_code(one),
    "role": lambda people, one: people.set_role(one, Role.VIEWER),
    "sessions": lambda people, one: people.end_sessions(one),
}


@pytest.mark.parametrize("name", sorted(DEEDS))
def test_nobody_manages_somebody_who_may_more_or_is_of_another_tenant(office: Office, name: str) -> None:
    add_person(office.engine, "boss", Role.OPERATOR)
    boss, deed = office.known("boss").id, DEEDS[name]
    for role in (Role.VIEWER, Role.SUPPORT, Role.APPROVER, Role.AUDITOR, Role.TENANT_ADMIN):
        with pytest.raises(PersonAboveYou):
            office.manage(lambda people: deed(people, boss), actor(role))
    with pytest.raises(PersonUnknown):
        office.manage(lambda people: deed(people, boss), actor(Role.OPERATOR, tenant="other"))
    office.manage(lambda people: deed(people, boss), actor(Role.OPERATOR))


@pytest.mark.parametrize("name", ["disable", "reset", "role"])
def test_nobody_frees_himself_of_what_holds_him(office: Office, name: str) -> None:
    add_person(office.engine, "boss", Role.OPERATOR)
    boss = office.known("boss").id
    with pytest.raises(NotOneself):
        office.manage(lambda people: DEEDS[name](people, boss), actor(Role.OPERATOR, boss))


def test_an_administrator_of_a_tenant_makes_no_operator(office: Office) -> None:
    admin = actor(Role.TENANT_ADMIN)
    with pytest.raises(PersonAboveYou):
        office.manage(lambda people: people.add("wang.fang", Role.OPERATOR), admin)
    with pytest.raises(PersonAboveYou):
        office.manage(lambda people: people.set_role(people.id_of(NAME), Role.OPERATOR), admin)


@pytest.mark.parametrize("name", ["", " li", "li ", "a\nb", "x" * 65, "\u202eevil"])
def test_names_that_cannot_be_read_or_typed_are_refused(office: Office, name: str) -> None:
    with pytest.raises(NameUnusable):
        office.manage(lambda people: people.add(name, Role.VIEWER))


def test_a_name_is_given_once_over_all_tenants(office: Office) -> None:
    with pytest.raises(NameTaken):
        office.manage(lambda people: people.add(NAME, Role.VIEWER), actor(Role.OPERATOR, tenant="other"))


def test_a_change_of_keys_leaves_every_telephone_as_it_was(office: Office, tmp_path: Path) -> None:
    secret = enrol(office)
    path = tmp_path / "people.key"
    fresh = new_key_line()
    path.write_text(fresh + path.read_text("ascii"), "ascii")
    assert office.manage(lambda people: people.reseal(SecondFactors(path))) == 1
    path.write_text(fresh, "ascii")
    opened, later = office.signed_in(), NOW + timedelta(minutes=1)
    assert opened is not None
    assert Proofs(office.door).give_code(opened.secret, code_of(secret, later), address="", now=later) is not None


def test_nothing_that_was_handed_out_is_in_the_database(office: Office) -> None:
    _, code = office.manage(lambda people: people.add("wang.fang", Role.VIEWER))
    with reading(office.engine) as session:
        rows = session.exec(select(User)).all()
    assert code not in str([row.model_dump() for row in rows])


def test_a_link_is_made_once_and_ends_with_all_sessions(office: Office) -> None:
    issuer, cookie = "https://sso.example", office.cookie()
    add_person(office.engine, "wang.fang", Role.VIEWER)
    office.manage(lambda people: people.link(people.id_of(NAME), issuer, "s-1"))
    with pytest.raises(LinkTaken):
        office.manage(lambda people: people.link(people.id_of("wang.fang"), issuer, "s-1"))
    office.manage(lambda people: people.link(people.id_of("wang.fang"), "https://other.example", "s-1"))
    assert office.manage(lambda people: people.unlink(people.id_of(NAME))) == 1
    assert not office.is_open(cookie)
    office.manage(lambda people: people.link(people.id_of("wang.fang"), issuer, "s-1"))


def test_nobody_links_somebody_who_may_more(office: Office) -> None:
    add_person(office.engine, "boss", Role.OPERATOR)
    with pytest.raises(PersonAboveYou):
        office.manage(
            lambda people: people.link(people.id_of("boss"), "https://sso.example", "s-1"), actor(Role.TENANT_ADMIN)
        )
