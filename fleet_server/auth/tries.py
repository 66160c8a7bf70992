"""Tries to show who one is: counted for each name before anything is compared, so that tries at the same moment cannot
pass the limit together. Ten wrong ones lock a name for 30 min (PCI DSS 8.3.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Engine

from fleet_server.audit.service import record
from fleet_server.auth.models import User
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.auth.sessions import actor_of
from fleet_server.db import reading, transaction

MAX_TRIES = 10
LOCK_TIME = timedelta(minutes=30)
# Of a person whose wrong tries are forgotten.
NO_TRIES: Mapping[str, object] = {"failed_count": 0, "locked_until": None}
_STRANGER = Actor("", "unknown", Role.VIEWER, "default", ActorKind.PERSON)


class Tries:
    """Opens its own short transactions, because a refused try must be kept though the request fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count(self, name: str, now: datetime) -> User | None:
        """The person whose proof may be looked at; None when unknown, locked or disabled."""
        with reading(self._engine) as session:
            if AuthRepository(session).find_person(name) is None:
                return None
        with transaction(self._engine) as session:
            person = AuthRepository(session).lock_person(name)
            if person is None or person.disabled_at is not None:
                return None
            if person.locked_until is not None:
                if person.locked_until > now:
                    return None
                person.failed_count, person.locked_until = 0, None
            person.failed_count += 1
            if person.failed_count >= MAX_TRIES:
                person.locked_until = now + LOCK_TIME
        return person

    def take_back(self, name: str) -> None:
        """For a try whose proof was not looked at."""
        with transaction(self._engine) as session:
            person = AuthRepository(session).lock_person(name)
            if person is not None and person.failed_count > 0:
                person.failed_count, person.locked_until = person.failed_count - 1, None

    def note_refusal(self, action: str, name: str, address: str, now: datetime) -> bool:
        """Writes it down; True when the name is locked by now."""
        with transaction(self._engine) as session:
            person = AuthRepository(session).find_person(name)
            # An unknown name is not written down: somebody may have typed a password into the wrong field.
            actor = actor_of(person) if person else _STRANGER
            locked = person is not None and person.locked_until is not None and person.locked_until > now
            target = person.name if person else ""
            record(session, actor, action, target, {"locked": locked}, address=address, now=now)
        return locked


def forget_tries(person: User) -> None:
    person.failed_count, person.locked_until = 0, None
