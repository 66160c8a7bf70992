"""The people of a tenant, as those manage them who may: made, disabled, unlocked, their second factor reset, their
sessions ended. Every change is in the audit.

Nobody manages somebody who may more than himself, and nobody himself: whoever has taken over a session must find
somebody else to cover it up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.errors import LinkTaken, NameTaken, NameUnusable, NotOneself, PersonAboveYou, PersonUnknown
from fleet_server.auth.models import LoginSession, OidcLink, User
from fleet_server.auth.one_time_codes import readable_code
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, Role
from fleet_server.auth.second_factor import NO_SECOND_FACTOR, SecondFactors
from fleet_server.auth.sessions import IDLE_LIMIT, digest
from fleet_server.auth.tries import NO_TRIES
from fleet_server.kit.identifiers import uuid7

SET_UP_LIMIT = timedelta(hours=72)
MAX_NAME_CHARS = 64
MAX_SUBJECT_CHARS = 255


@dataclass(frozen=True, slots=True)
class Known:
    """What is shown of a person; never a secret."""

    id: str
    name: str
    role: Role
    created_at: datetime
    is_disabled: bool
    is_locked: bool
    awaits_set_up: bool
    has_password: bool
    has_second_factor: bool
    sessions: tuple[LoginSession, ...]


class People:
    def __init__(self, session: Session, actor: Actor, now: datetime) -> None:
        self._session = session
        self._repository = AuthRepository(session)
        self._actor = actor
        self._now = now

    def list(self) -> Sequence[Known]:
        living = self._repository.list_sessions(self._actor.tenant_id, self._now, self._now - IDLE_LIMIT)
        return [self._known(one, living) for one in self._repository.list_people(self._actor.tenant_id)]

    def find(self, person_id: str) -> Known:
        living = self._repository.list_sessions(self._actor.tenant_id, self._now, self._now - IDLE_LIMIT)
        return self._known(self._found(self._repository.find_person_by_id(self._actor.tenant_id, person_id)), living)

    def id_of(self, name: str) -> str:
        person = self._repository.find_person_named(self._actor.tenant_id, name)
        if person is None:
            raise PersonUnknown(f"there is nobody named {name}")
        return person.id

    def add(self, name: str, role: Role) -> tuple[str, str]:
        """Id and code for setting up, which is kept nowhere."""
        code = readable_code()
        return self._added(name, role, self._set_up_by(code)).id, code

    def add_without_code(self, name: str, role: Role) -> str:
        """For who signs in by an OpenID provider: there is no password to choose."""
        return self._added(name, role, {}).id

    def _added(self, name: str, role: Role, more: Mapping[str, Any]) -> User:
        self._check_may_give(role)
        if not is_usable_name(name):
            raise NameUnusable(f"a name has 1 to {MAX_NAME_CHARS} printable characters and no space at either end")
        person = User(
            id=uuid7(self._now),
            tenant_id=self._actor.tenant_id,
            name=name,
            password_hash="",
            role=role.value,
            created_at=self._now,
            **more,
        )
        try:
            # Names are unique over all tenants, of which a caller's transaction sees one.
            with self._session.begin_nested():
                self._repository.add(person)
        except IntegrityError as error:
            raise NameTaken(f"there is a person named {name} already") from error
        self._note("person_added", name, role=role.value)
        return person

    def link(self, person_id: str, issuer: str, subject: str) -> None:
        """Who somebody of an OpenID provider is here."""
        person = self._managed(person_id)
        if not 0 < len(subject) <= MAX_SUBJECT_CHARS:
            raise NameUnusable(f"a subject has 1 to {MAX_SUBJECT_CHARS} characters, came {len(subject)}")
        if self._repository.find_linked(issuer, subject) is not None:
            raise LinkTaken(f"the subject {subject} of {issuer} is linked already")
        self._repository.add(
            OidcLink(
                issuer=issuer, subject=subject, tenant_id=person.tenant_id, user_id=person.id, created_at=self._now
            )
        )
        # The chain of the audit is for ever; what somebody is called elsewhere is not.
        personal = {"subject": subject}
        record(self._session, self._actor, "oidc_linked", person.name, personal=personal, now=self._now)

    def unlink(self, person_id: str) -> int:
        """From all providers; how many links there were. All sessions end."""
        person = self._managed(person_id)
        self._repository.remove_sessions_of(person)
        self._note("oidc_unlinked", person.name)
        return self._repository.remove_links_of(person)

    def new_set_up_code(self, person_id: str) -> str:
        """Lets the person choose a password anew; the present one counts until then."""
        person = self._managed(person_id)
        code = readable_code()
        self._repository.change_person(person, self._set_up_by(code))
        self._note("set_up_code_made", person.name)
        return code

    def disable(self, person_id: str) -> None:
        person = self._managed(person_id, is_own_allowed=False)
        values = {"disabled_at": person.disabled_at or self._now, "set_up_sha256": "", "set_up_until": None}
        self._repository.change_person(person, values)
        self._repository.remove_sessions_of(person)
        self._note("person_disabled", person.name)

    def enable(self, person_id: str) -> None:
        person = self._managed(person_id)
        self._repository.change_person(person, {"disabled_at": None, **NO_TRIES})
        self._note("person_enabled", person.name)

    def unlock(self, person_id: str) -> None:
        person = self._managed(person_id)
        self._repository.change_person(person, NO_TRIES)
        self._repository.forget_tries_of_browsers(person)
        self._note("person_unlocked", person.name)

    def reset_second_factor(self, person_id: str) -> None:
        """The person sets up another with the next sign-in. All sessions end."""
        person = self._managed(person_id, is_own_allowed=False)
        self._repository.change_person(person, NO_SECOND_FACTOR)
        self._repository.remove_recovery_codes_of(person)
        self._repository.remove_sessions_of(person)
        self._note("second_factor_reset", person.name)

    def set_role(self, person_id: str, role: Role) -> None:
        """All sessions end: what was opened with the rights of before is not carried on."""
        person = self._managed(person_id, is_own_allowed=False)
        self._check_may_give(role)
        if person.role != role.value:
            self._repository.change_person(person, {"role": role.value})
            self._repository.remove_sessions_of(person)
            self._note("role_set", person.name, role=role.value)

    def end_sessions(self, person_id: str, session_id: str | None = None) -> None:
        """All of them, or the one of this id."""
        person = self._managed(person_id)
        if session_id is None:
            self._repository.remove_sessions_of(person)
        else:
            self._repository.remove_session(session_id, of=person)
        self._note("sessions_ended", person.name)

    def reseal(self, factors: SecondFactors) -> int:
        """With the first key of the file; how many secrets there were."""
        people = [one for one in self._repository.list_people_for_update() if one.totp_sealed or one.totp_new_sealed]
        for person in people:
            factors.reseal(person)
        self._note("people_key_changed", "", people=str(len(people)))
        return len(people)

    def _set_up_by(self, code: str) -> dict[str, object]:
        return {"set_up_sha256": digest(code), "set_up_until": self._now + SET_UP_LIMIT}

    def _person(self, person_id: str) -> User:
        return self._found(self._repository.lock_person_by_id(self._actor.tenant_id, person_id))

    @staticmethod
    def _found(person: User | None) -> User:
        if person is None:
            raise PersonUnknown("there is nobody of this id")
        return person

    def require_erasable(self, person_id: str) -> None:
        """Raises as all that is done to somebody does: for whoever is not known, is oneself, or may more."""
        self._managed(person_id, is_own_allowed=False)

    def _managed(self, person_id: str, *, is_own_allowed: bool = True) -> User:
        person = self._person(person_id)
        if person.id == self._actor.id and not is_own_allowed:
            raise NotOneself("nobody does this to himself: another administrator can")
        self._check_may_give(Role(person.role))
        return person

    def _check_may_give(self, role: Role) -> None:
        if not self._actor.may_give(role):
            raise PersonAboveYou(f"with your role you do not manage people with the role {role}")

    def _known(self, person: User, living: Sequence[LoginSession]) -> Known:
        return known_of(person, living, self._now)

    def _note(self, action: str, target: str, **data: str) -> None:
        record(self._session, self._actor, action, target, data, now=self._now)


def is_usable_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_CHARS and name.isprintable() and name == name.strip()


def known_of(person: User, living: Sequence[LoginSession], now: datetime) -> Known:
    return Known(
        id=person.id,
        name=person.name,
        role=Role(person.role),
        created_at=person.created_at,
        is_disabled=person.disabled_at is not None,
        is_locked=person.locked_until is not None and person.locked_until > now,
        awaits_set_up=person.set_up_until is not None and person.set_up_until > now,
        has_password=person.password_hash != "",
        has_second_factor=person.totp_sealed != "",
        sessions=tuple(one for one in living if one.user_id == person.id),
    )
