"""Sessions of people at the console: an opaque random id in the cookie, its SHA-256 in the table.

15 min idle, 8 h at most. A sign-in and a step-up give a new id; the id before is worth nothing from then on, so that
nobody profits from one that was planted or read earlier.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, ActorKind, Role

IDLE_LIMIT = timedelta(minutes=15)
ABSOLUTE_LIMIT = timedelta(hours=8)
# Approvals and work on keys need somebody who has shown within this time that it is really them.
STEP_UP_LIMIT = timedelta(minutes=5)
MAX_USES = 10_000


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """Who looks at the console, with the token that unsafe requests must carry."""

    actor: Actor
    csrf: str
    display_name: str
    language: str  # "" follows the browser
    theme: str  # "" follows the system
    stepped_up_at: datetime | None

    def is_stepped_up(self, now: datetime) -> bool:
        """A moment to come is none: the clock may have been put back."""
        return self.stepped_up_at is not None and self.stepped_up_at <= now < self.stepped_up_at + STEP_UP_LIMIT


@dataclass(frozen=True, slots=True)
class SignedIn:
    """``secret`` goes into the cookie and nowhere else."""

    secret: str
    session: ConsoleSession
    until: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request came from, as far as it says."""

    address: str = ""
    user_agent: str = ""


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


def open_session(repository: AuthRepository, person: User, place: Place, now: datetime) -> SignedIn:
    secret = secrets.token_urlsafe(32)
    row = LoginSession(
        id_sha256=digest(secret),
        tenant_id=person.tenant_id,
        user_id=person.id,
        csrf=secrets.token_urlsafe(24),
        created_at=now,
        last_used_at=now,
        expires_at=now + ABSOLUTE_LIMIT,
        address=place.address[:64],
        user_agent=place.user_agent[:200],
        stepped_up_at=now,
    )
    repository.add(row)
    return SignedIn(secret, console_session_of(row, person), row.expires_at)


def renew_session(repository: AuthRepository, row: LoginSession, person: User, now: datetime) -> SignedIn:
    """The same session under a new id, stepped up. Its end does not move, and forms of open pages stay good."""
    secret = secrets.token_urlsafe(32)
    renewed = LoginSession(
        **row.model_dump() | {"id_sha256": digest(secret), "last_used_at": now, "stepped_up_at": now}
    )
    repository.remove_session(row.id_sha256)
    repository.add(renewed)
    return SignedIn(secret, console_session_of(renewed, person), renewed.expires_at)


def actor_of(person: User) -> Actor:
    return Actor(person.id, person.name, Role(person.role), person.tenant_id, ActorKind.PERSON)


def console_session_of(row: LoginSession, person: User) -> ConsoleSession:
    shown = person.display_name or person.name
    return ConsoleSession(actor_of(person), row.csrf, shown, person.language, person.theme, row.stepped_up_at)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
