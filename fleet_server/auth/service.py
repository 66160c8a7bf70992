"""Signing in with a password, signing out, and finding out who asks.

A refusal never says whether the name exists, and takes as many hashes either way. What comes after the password is left
to `fleet_server.auth.proofs`.

Invariant: no transaction is open while a password is hashed, and a try is counted before its password is looked at.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from fleet_server.audit.service import record
from fleet_server.auth.browsers import BROWSER_KEPT
from fleet_server.auth.errors import SignInBusy
from fleet_server.auth.limits import SignInLimits
from fleet_server.auth.models import User
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.second_factor import SecondFactors
from fleet_server.auth.sessions import (
    IDLE_LIMIT,
    OPEN_ONLY,
    ConsoleSession,
    Place,
    SignedIn,
    Stage,
    Uses,
    actor_of,
    console_session_of,
    digest,
    find_alive,
    open_session,
)
from fleet_server.auth.tries import Tries
from fleet_server.databases import DatabaseAway
from fleet_server.db import transaction

# A page that asks every second does not write every second.
_TOUCH_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Doorkeeping:
    """What the door shares between requests, and who knocks. ``tenant_id``: the installation's own."""

    engine: Engine
    tenant_id: str
    passwords: Passwords
    factors: SecondFactors
    uses: Uses
    limits: SignInLimits
    browser: str = ""  # hash of the mark that the browser of this request brought

    @property
    def tries(self) -> Tries:
        return Tries(self.engine, self.tenant_id, self.browser)


class AuthService:
    def __init__(self, door: Doorkeeping) -> None:
        self._door = door
        self._engine = door.engine
        self._tries = door.tries

    def sign_in(
        self, name: str, password: str, *, address: str, user_agent: str, now: datetime, replaces: str | None = None
    ) -> SignedIn | None:
        """None when refused. ``replaces``: the cookie that the browser sent, which is worth nothing afterwards."""
        self._door.limits.take(address)
        person = self._tries.count(name[:64], now)
        if not has_password(self._door, person, password, address) or person is None:
            self._tries.note_refusal("sign_in_refused", name[:64], address, now)
            return None
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            known = unchanged(repository, person)
            if known is None:
                return None
            if replaces:
                repository.remove_session(digest(replaces))
            stage = stage_after_password(self._door, known)
            if stage is not Stage.CODE:
                # Else the right password would buy ten more guesses at the code.
                self._tries.forget(session, known)
            if stage is Stage.OPEN:
                record(session, actor_of(known), "sign_in", known.name, address=address, now=now)
            opened = open_session(repository, known, Place(address, user_agent), now, stage=stage)
        self._door.limits.give_back(address)
        return opened

    def sign_out(self, secret: str, *, now: datetime) -> None:
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            found = repository.find_session(digest(secret))
            if found is not None:
                repository.remove_session(found[0].id_sha256)
                record(session, actor_of(found[1]), "sign_out", found[1].name, now=now)

    def resolve(self, secret: str, now: datetime, stages: AbstractSet[Stage] = OPEN_ONLY) -> ConsoleSession | None:
        """Who holds this cookie now, in one of ``stages``; using it keeps it alive."""
        found = find_alive(self._engine, self._door.uses, secret, now, stages)
        if found is None:
            return None
        row, person = found
        if row.last_used_at + _TOUCH_AFTER <= now:
            self._touch(row.id_sha256, now)
        return console_session_of(row, person)

    def _touch(self, id_sha256: str, now: datetime) -> None:
        try:
            with transaction(self._engine) as session:
                found = AuthRepository(session).find_session(id_sha256)
                if found is not None:
                    found[0].last_used_at = max(found[0].last_used_at, now)
        except (DatabaseAway, OperationalError, InterfaceError):
            # Read from a standby, or from the old copy of a database that is brought back.
            self._door.uses.note(id_sha256, now)


def has_password(door: Doorkeeping, person: User | None, password: str, address: str) -> bool:
    """After the try was counted; it costs nothing when there is no room to look at it."""
    try:
        return door.passwords.matches(password, person.password_hash if person else None)
    except SignInBusy:
        door.limits.give_back(address)
        if person is not None:
            door.tries.take_back(person.name)
        raise


def stage_after_password(door: Doorkeeping, person: User) -> Stage:
    if person.totp_sealed:
        return Stage.CODE
    return Stage.ENROL if door.factors.is_required else Stage.OPEN


def sweep_sessions(engine: Engine, now: datetime) -> int:
    """Removes dead ones, questions to OpenID providers that nobody answered, and marks of browsers that nobody signs in
    with any more; called by the scheduler.
    """
    with transaction(engine) as session:
        repository = AuthRepository(session)
        repository.remove_questions_dead_at(now)
        repository.remove_browsers_unused_since(now - BROWSER_KEPT)
        return repository.remove_sessions_dead_at(now, now - IDLE_LIMIT)


def unchanged(repository: AuthRepository, person: User) -> User | None:
    """The person's row, held; None when its password was changed or it was disabled while a hash was compared."""
    known = repository.lock_person(person.name)
    if known is None or known.password_hash != person.password_hash or known.disabled_at is not None:
        return None
    return known
