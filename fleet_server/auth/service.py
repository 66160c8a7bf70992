"""Signing in and out, confirming that it is still the same person, and finding out who asks.

A refusal never says whether the name exists.

Invariant: no transaction is open while a password is hashed, and a try is counted before its password is looked at.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from fleet_server.audit.service import record
from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.sessions import (
    IDLE_LIMIT,
    ConsoleSession,
    Place,
    SignedIn,
    Uses,
    actor_of,
    console_session_of,
    digest,
    open_session,
    renew_session,
)
from fleet_server.auth.tries import Tries, forget_tries
from fleet_server.databases import DatabaseAway
from fleet_server.db import reading, transaction

# A page that asks every second does not write every second.
_TOUCH_AFTER = timedelta(seconds=30)


class AuthService:
    def __init__(self, engine: Engine, passwords: Passwords, uses: Uses | None = None) -> None:
        self._engine = engine
        self._passwords = passwords
        self._uses = Uses() if uses is None else uses
        self._tries = Tries(engine)

    def sign_in(
        self, name: str, password: str, *, address: str, user_agent: str, now: datetime, replaces: str | None = None
    ) -> SignedIn | None:
        """None when refused. ``replaces``: the cookie that the browser sent, which is worth nothing afterwards."""
        person = self._tries.count(name[:64], now)
        if not self._passwords.matches(password, person.password_hash if person else None) or person is None:
            self._tries.note_refusal("sign_in_refused", name[:64], address, now)
            return None
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            known = _unchanged(repository, person)
            if known is None:
                return None
            forget_tries(known)
            if replaces:
                repository.remove_session(digest(replaces))
            record(session, actor_of(known), "sign_in", known.name, address=address, now=now)
            return open_session(repository, known, Place(address, user_agent), now)

    def sign_out(self, secret: str, *, now: datetime) -> None:
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            found = repository.find_session(digest(secret))
            if found is not None:
                repository.remove_session(found[0].id_sha256)
                record(session, actor_of(found[1]), "sign_out", found[1].name, now=now)

    def step_up(self, secret: str, password: str, *, address: str, now: datetime) -> SignedIn | None:
        """The session under a new id when its person gave the right password. Guessing ends in a locked name."""
        found = self._alive(secret, now)
        if found is None:
            return None
        name = found[1].name
        person = self._tries.count(name, now)
        if not self._passwords.matches(password, person.password_hash if person else None) or person is None:
            if self._tries.note_refusal("step_up_refused", name, address, now):
                # Whoever guesses here holds somebody's session.
                self.sign_out(secret, now=now)
            return None
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            known, row = _unchanged(repository, person), repository.lock_session(digest(secret))
            if known is None or row is None:
                return None
            forget_tries(known)
            record(session, actor_of(known), "step_up", known.name, address=address, now=now)
            return renew_session(repository, row, known, now)

    def resolve(self, secret: str, now: datetime) -> ConsoleSession | None:
        """Who holds this cookie now; using it keeps it alive."""
        found = self._alive(secret, now)
        if found is None:
            return None
        row, person = found
        if row.last_used_at + _TOUCH_AFTER <= now:
            self._touch(row.id_sha256, now)
        return console_session_of(row, person)

    def sweep(self, now: datetime) -> int:
        """Removes dead sessions; called by the scheduler."""
        with transaction(self._engine) as session:
            return AuthRepository(session).remove_sessions_dead_at(now, now - IDLE_LIMIT)

    def _alive(self, secret: str, now: datetime) -> tuple[LoginSession, User] | None:
        with reading(self._engine) as session:
            found = AuthRepository(session).find_session(digest(secret))
        if found is None:
            return None
        row, person = found
        last_used_at = max(row.last_used_at, self._uses.last(row.id_sha256) or row.last_used_at)
        if row.expires_at <= now or last_used_at + IDLE_LIMIT <= now or person.disabled_at is not None:
            return None
        return found

    def _touch(self, id_sha256: str, now: datetime) -> None:
        try:
            with transaction(self._engine) as session:
                found = AuthRepository(session).find_session(id_sha256)
                if found is not None:
                    found[0].last_used_at = max(found[0].last_used_at, now)
        except (DatabaseAway, OperationalError, InterfaceError):
            # Read from a standby, or from the old copy of a database that is brought back.
            self._uses.note(id_sha256, now)


def _unchanged(repository: AuthRepository, person: User) -> User | None:
    """The person's row, held; None when its password was changed or it was disabled while a hash was compared."""
    known = repository.lock_person(person.name)
    if known is None or known.password_hash != person.password_hash or known.disabled_at is not None:
        return None
    return known
