"""One's own account: what is known of it, and where one is signed in.

Not kept to the tenant that is looked at: an operator who looks into another one is still himself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from fleet_server.audit.service import record
from fleet_server.auth.errors import PersonUnknown
from fleet_server.auth.models import User
from fleet_server.auth.people import Known, known_of
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor
from fleet_server.auth.sessions import IDLE_LIMIT, actor_of
from fleet_server.db import reading, transaction


@dataclass(frozen=True, slots=True)
class Account:
    known: Known
    recovery_codes: int  # that are still good


class OwnAccount:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def account(self, actor: Actor, now: datetime) -> Account:
        with reading(self._engine) as session:
            repository = AuthRepository(session)
            person = _self(repository, actor)
            living = repository.list_sessions(person.tenant_id, now, now - IDLE_LIMIT)
            return Account(known_of(person, living, now), repository.count_recovery_codes(person.id))

    def end_sessions(self, actor: Actor, session_id: str | None, now: datetime) -> None:
        """The one of this id, if it is the actor's; all of the actor's without one."""
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            person = _self(repository, actor)
            if session_id is None:
                repository.remove_sessions_of(person)
            else:
                repository.remove_session(session_id, of=person)
            record(session, actor_of(person), "sessions_ended", person.name, now=now)


def _self(repository: AuthRepository, actor: Actor) -> User:
    person = repository.find_person_of_any_tenant(actor.id)
    if person is None:
        raise PersonUnknown("this account has been removed")
    return person
