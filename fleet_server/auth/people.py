"""The people of a tenant, as those manage them who may: made, disabled, unlocked, their second factor reset, their
sessions ended. Every change is in the audit.

Nobody manages somebody who may more than himself, and nobody himself: whoever has taken over a session must find
somebody else to cover it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.errors import NameTaken, NameUnusable, NotOneself, PersonAboveYou, PersonUnknown
from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.one_time_codes import readable_code
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, Role
from fleet_server.auth.second_factor import SecondFactors, remove_second_factor
from fleet_server.auth.sessions import IDLE_LIMIT, digest
from fleet_server.auth.tries import forget_tries
from fleet_server.kit.identifiers import uuid7

SET_UP_LIMIT = timedelta(hours=72)
MAX_NAME_CHARS = 64


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

    def find_self(self, person_id: str) -> Known:
        """Also of an operator who looks into a tenant that is not his."""
        person = self._found(self._repository.find_person_of_any_tenant(person_id))
        return self._known(person, self._repository.list_sessions(person.tenant_id, self._now, self._now - IDLE_LIMIT))

    def id_of(self, name: str) -> str:
        person = self._repository.find_person(name)
        if person is None or person.tenant_id != self._actor.tenant_id:
            raise PersonUnknown(f"there is nobody named {name}")
        return person.id

    def add(self, name: str, role: Role) -> tuple[str, str]:
        """Id and code for setting up, which is kept nowhere."""
        self._check_may_give(role)
        if not name or len(name) > MAX_NAME_CHARS or not name.isprintable() or name != name.strip():
            raise NameUnusable(f"a name has 1 to {MAX_NAME_CHARS} printable characters and no space at either end")
        if self._repository.find_person(name) is not None:
            raise NameTaken(f"there is a person named {name} already")
        person = User(
            id=uuid7(self._now),
            tenant_id=self._actor.tenant_id,
            name=name,
            password_hash="",
            role=role.value,
            created_at=self._now,
        )
        self._repository.add(person)
        self._note("person_added", name, role=role.value)
        return person.id, self._new_code(person)

    def new_set_up_code(self, person_id: str) -> str:
        """Lets the person choose a password anew; the present one counts until then."""
        person = self._managed(person_id)
        self._note("set_up_code_made", person.name)
        return self._new_code(person)

    def disable(self, person_id: str) -> None:
        person = self._managed(person_id, is_own_allowed=False)
        person.disabled_at = person.disabled_at or self._now
        person.set_up_sha256, person.set_up_until = "", None
        self._repository.remove_sessions_of(person.id)
        self._note("person_disabled", person.name)

    def enable(self, person_id: str) -> None:
        person = self._managed(person_id)
        person.disabled_at = None
        forget_tries(person)
        self._note("person_enabled", person.name)

    def unlock(self, person_id: str) -> None:
        person = self._managed(person_id)
        forget_tries(person)
        self._note("person_unlocked", person.name)

    def reset_second_factor(self, person_id: str) -> None:
        """The person sets up another with the next sign-in. All sessions end."""
        person = self._managed(person_id, is_own_allowed=False)
        remove_second_factor(self._repository, person)
        self._repository.remove_sessions_of(person.id)
        self._note("second_factor_reset", person.name)

    def set_role(self, person_id: str, role: Role) -> None:
        """All sessions end: what was opened with the rights of before is not carried on."""
        person = self._managed(person_id, is_own_allowed=False)
        self._check_may_give(role)
        if person.role != role.value:
            person.role = role.value
            self._repository.remove_sessions_of(person.id)
            self._note("role_set", person.name, role=role.value)

    def end_sessions(self, person_id: str, session_id: str | None = None) -> None:
        """All of them, or the one of this id. Of oneself always, of others by whoever manages them."""
        if person_id == self._actor.id:
            person = self._found(self._repository.find_person_of_any_tenant(person_id))
        else:
            person = self._managed(person_id)
        if session_id is None:
            self._repository.remove_sessions_of(person.id)
        else:
            self._repository.remove_session(session_id, of=person.id)
        self._note("sessions_ended", person.name)

    def reseal(self, factors: SecondFactors) -> int:
        """With the first key of the file; how many secrets there were."""
        people = [one for one in self._repository.list_people_for_update() if one.totp_sealed or one.totp_new_sealed]
        for person in people:
            factors.reseal(person)
        self._note("people_key_changed", "", people=str(len(people)))
        return len(people)

    def _new_code(self, person: User) -> str:
        code = readable_code()
        person.set_up_sha256, person.set_up_until = digest(code), self._now + SET_UP_LIMIT
        return code

    def _person(self, person_id: str) -> User:
        return self._found(self._repository.lock_person_by_id(self._actor.tenant_id, person_id))

    @staticmethod
    def _found(person: User | None) -> User:
        if person is None:
            raise PersonUnknown("there is nobody of this id")
        return person

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
        return Known(
            id=person.id,
            name=person.name,
            role=Role(person.role),
            created_at=person.created_at,
            is_disabled=person.disabled_at is not None,
            is_locked=person.locked_until is not None and person.locked_until > self._now,
            awaits_set_up=person.set_up_until is not None and person.set_up_until > self._now,
            has_password=person.password_hash != "",
            has_second_factor=person.totp_sealed != "",
            sessions=tuple(one for one in living if one.user_id == person.id),
        )

    def _note(self, action: str, target: str, **data: str) -> None:
        record(self._session, self._actor, action, target, data, now=self._now)
