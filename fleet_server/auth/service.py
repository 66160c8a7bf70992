"""Signing in and out, and finding out who asks.

Sessions: an opaque random id in the cookie, its SHA-256 in the table; 15 min idle, 8 h at most; a new id a sign-in.
Ten wrong passwords lock a name for 30 min (PCI DSS 8.3.4). A refusal never says whether the name exists.

Invariant: no transaction is open while a password is hashed, and a try is counted before its password is looked at, so
that tries at the same moment cannot pass the limit together.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from fleet_server.audit.service import record
from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.databases import DatabaseAway
from fleet_server.db import reading, transaction

IDLE_LIMIT = timedelta(minutes=15)
ABSOLUTE_LIMIT = timedelta(hours=8)
MAX_TRIES = 10
LOCK_TIME = timedelta(minutes=30)
MAX_USES = 10_000
# A page that asks every second does not write every second.
_TOUCH_AFTER = timedelta(seconds=30)
_STRANGER = Actor("", "unknown", Role.VIEWER, "default", ActorKind.PERSON)


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """Who looks at the console, with the token that unsafe requests must carry."""

    actor: Actor
    csrf: str
    display_name: str
    language: str  # "" follows the browser
    theme: str  # "" follows the system


@dataclass(frozen=True, slots=True)
class SignedIn:
    """``secret`` goes into the cookie and nowhere else."""

    secret: str
    session: ConsoleSession


class Uses:
    """When sessions were last used, while that cannot be written down: the newest `MAX_USES`."""

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}

    def note(self, id_sha256: str, now: datetime) -> None:
        self._at.pop(id_sha256, None)
        self._at[id_sha256] = now
        while len(self._at) > MAX_USES:
            self._at.pop(next(iter(self._at)), None)

    def last(self, id_sha256: str) -> datetime | None:
        return self._at.get(id_sha256)


class AuthService:
    """Opens its own short transactions, because a refused try must be kept though the request fails."""

    def __init__(self, engine: Engine, passwords: Passwords, uses: Uses | None = None) -> None:
        self._engine = engine
        self._passwords = passwords
        self._uses = Uses() if uses is None else uses

    def sign_in(
        self, name: str, password: str, *, address: str, user_agent: str, now: datetime, replaces: str | None = None
    ) -> SignedIn | None:
        """None when refused. ``replaces``: the cookie that the browser sent, which is worth nothing afterwards."""
        person = self._count_try(name[:64], now)
        if not self._passwords.matches(password, person.password_hash if person else None) or person is None:
            self._note_refusal(name[:64], address, now)
            return None
        secret = secrets.token_urlsafe(32)
        row = LoginSession(
            id_sha256=_digest(secret),
            tenant_id=person.tenant_id,
            user_id=person.id,
            csrf=secrets.token_urlsafe(24),
            created_at=now,
            last_used_at=now,
            expires_at=now + ABSOLUTE_LIMIT,
            address=address[:64],
            user_agent=user_agent[:200],
        )
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            known = repository.lock_person(person.name)
            if known is None or known.password_hash != person.password_hash:
                return None
            known.failed_count, known.locked_until = 0, None
            if replaces:
                repository.remove_session(_digest(replaces))
            repository.add(row)
            record(session, actor_of(person), "sign_in", person.name, address=address, now=now)
        return SignedIn(secret, _console_session(row, person))

    def sign_out(self, secret: str, *, now: datetime) -> None:
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            found = repository.find_session(_digest(secret))
            if found is not None:
                repository.remove_session(found[0].id_sha256)
                record(session, actor_of(found[1]), "sign_out", found[1].name, now=now)

    def resolve(self, secret: str, now: datetime) -> ConsoleSession | None:
        """Who holds this cookie now; using it keeps it alive."""
        with reading(self._engine) as session:
            found = AuthRepository(session).find_session(_digest(secret))
        if found is None:
            return None
        row, person = found
        last_used_at = max(row.last_used_at, self._uses.last(row.id_sha256) or row.last_used_at)
        if row.expires_at <= now or last_used_at + IDLE_LIMIT <= now or person.disabled_at is not None:
            return None
        if row.last_used_at + _TOUCH_AFTER <= now:
            self._touch(row.id_sha256, now)
        return _console_session(row, person)

    def sweep(self, now: datetime) -> int:
        """Removes dead sessions; called by the scheduler."""
        with transaction(self._engine) as session:
            return AuthRepository(session).remove_sessions_dead_at(now, now - IDLE_LIMIT)

    def _count_try(self, name: str, now: datetime) -> User | None:
        """The person whose password may be looked at; None when unknown, locked or disabled."""
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

    def _note_refusal(self, name: str, address: str, now: datetime) -> None:
        with transaction(self._engine) as session:
            person = AuthRepository(session).find_person(name)
            # An unknown name is not written down: somebody may have typed a password into the wrong field.
            actor = actor_of(person) if person else _STRANGER
            locked = person is not None and person.locked_until is not None and person.locked_until > now
            target = person.name if person else ""
            record(session, actor, "sign_in_refused", target, {"locked": locked}, address=address, now=now)

    def _touch(self, id_sha256: str, now: datetime) -> None:
        try:
            with transaction(self._engine) as session:
                found = AuthRepository(session).find_session(id_sha256)
                if found is not None:
                    found[0].last_used_at = max(found[0].last_used_at, now)
        except (DatabaseAway, OperationalError, InterfaceError):
            # Read from a standby, or from the old copy of a database that is brought back.
            self._uses.note(id_sha256, now)


def actor_of(person: User) -> Actor:
    return Actor(person.id, person.name, Role(person.role), person.tenant_id, ActorKind.PERSON)


def _console_session(row: LoginSession, person: User) -> ConsoleSession:
    shown = person.display_name or person.name
    return ConsoleSession(actor_of(person), row.csrf, shown, person.language, person.theme)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
