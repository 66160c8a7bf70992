"""Tries to show who one is: counted for each name before anything is compared, so that tries at the same moment cannot
pass the limit together. Ten wrong ones lock a name for 30 min (PCI DSS 8.3.4).

Those from a browser in which the person signed in before are counted for that browser alone, all others together: who
knows a name and nothing else locks it for strangers, and not for the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.models import KnownBrowser, User
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.auth.sessions import actor_of
from fleet_server.db import reading, transaction
from fleet_server.tenants.repository import is_suspended

MAX_TRIES = 10
LOCK_TIME = timedelta(minutes=30)
# Of a person whose wrong tries are forgotten.
NO_TRIES: Mapping[str, object] = {"failed_count": 0, "locked_until": None}


class Tries:
    """Opens its own short transactions, because a refused try must be kept though the request fails. ``tenant_id``: in
    whose audit tries stand of names that nobody has.
    """

    def __init__(self, engine: Engine, tenant_id: str, browser: str = "") -> None:
        """``browser``: the hash of the mark that the browser brought; empty: a stranger's."""
        self._engine = engine
        self._browser = browser
        self._stranger = Actor("", "unknown", Role.VIEWER, tenant_id, ActorKind.PERSON)

    def count(self, name: str, now: datetime) -> User | None:
        """The person whose proof may be looked at; None when unknown, locked, disabled, or of a
        tenant that is suspended.
        """
        with reading(self._engine) as session:
            if AuthRepository(session).find_person(name) is None:
                return None
        with transaction(self._engine) as session:
            person = AuthRepository(session).lock_person(name)
            if person is None or person.disabled_at is not None or is_suspended(session, person.tenant_id):
                return None
            counted = self._counted(session, person)
            if counted.locked_until is not None:
                if counted.locked_until > now:
                    return None
                counted.failed_count, counted.locked_until = 0, None
            counted.failed_count += 1
            if counted.failed_count >= MAX_TRIES:
                counted.locked_until = now + LOCK_TIME
        return person

    def take_back(self, name: str) -> None:
        """For a try whose proof was not looked at."""
        with transaction(self._engine) as session:
            person = AuthRepository(session).lock_person(name)
            counted = None if person is None else self._counted(session, person)
            if counted is not None and counted.failed_count > 0:
                counted.failed_count, counted.locked_until = counted.failed_count - 1, None

    def forget(self, session: Session, person: User) -> None:
        """Whoever has shown who it is begins anew, there where the tries were counted."""
        counted = self._counted(session, person)
        counted.failed_count, counted.locked_until = 0, None

    def note_refusal(self, action: str, name: str, address: str, now: datetime) -> bool:
        """Writes it down; True when the name is locked by now."""
        with transaction(self._engine) as session:
            person = AuthRepository(session).find_person(name)
            # An unknown name is not written down: somebody may have typed a password into the wrong field.
            actor = actor_of(person) if person else self._stranger
            counted = None if person is None else self._counted(session, person)
            locked = counted is not None and counted.locked_until is not None and counted.locked_until > now
            target = person.name if person else ""
            record(session, actor, action, target, {"locked": locked}, address=address, now=now)
        return locked

    def _counted(self, session: Session, person: User) -> User | KnownBrowser:
        """Whose count it is. The person's row is held, or nothing is changed."""
        browser = AuthRepository(session).lock_browser(self._browser, person) if self._browser else None
        return person if browser is None else browser
