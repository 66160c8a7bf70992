"""Sessions of people at the console: an opaque random id in the cookie, its SHA-256 in the table.

15 min idle, 8 h at most. A sign-in, each step of it, and a step-up give a new id; the id before is worth nothing from
then on, so that nobody profits from one that was planted or read earlier.

Whoever has shown a password only, and needs more, has a session that opens nothing but the page for the rest.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Engine

from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading

IDLE_LIMIT = timedelta(minutes=15)
ABSOLUTE_LIMIT = timedelta(hours=8)
# Approvals and work on keys need somebody who has shown within this time that it is really them.
STEP_UP_LIMIT = timedelta(minutes=5)
MAX_USES = 10_000


class Stage(StrEnum):
    OPEN = "open"
    CODE = "code"  # a code of the second factor is missing
    ENROL = "enrol"  # a second factor is to be set up first


OPEN_ONLY = frozenset({Stage.OPEN})
# How long a session may be in a stage. To set up a second factor a telephone has to be found.
_LIFE = {Stage.OPEN: ABSOLUTE_LIMIT, Stage.CODE: timedelta(minutes=5), Stage.ENROL: timedelta(minutes=15)}


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """Who looks at the console, with the token that unsafe requests must carry."""

    actor: Actor
    csrf: str
    display_name: str
    language: str  # "" follows the browser
    theme: str  # "" follows the system
    stepped_up_at: datetime | None
    stage: Stage = Stage.OPEN
    has_second_factor: bool = False

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


def open_session(
    repository: AuthRepository, person: User, place: Place, now: datetime, *, stage: Stage = Stage.OPEN
) -> SignedIn:
    row = LoginSession(
        id_sha256="",
        tenant_id=person.tenant_id,
        user_id=person.id,
        csrf=secrets.token_urlsafe(24),
        created_at=now,
        last_used_at=now,
        expires_at=now + _LIFE[stage],
        address=place.address[:64],
        user_agent=place.user_agent[:200],
        stage=stage.value,
        stepped_up_at=now if stage is Stage.OPEN else None,
    )
    return _under_a_new_id(repository, row, person)


def renew_session(repository: AuthRepository, row: LoginSession, person: User, now: datetime) -> SignedIn:
    """The same session under a new id, open and stepped up. An open one keeps its end and its token, so that forms of
    open pages stay good.
    """
    changes: dict[str, object] = {"last_used_at": now, "stepped_up_at": now}
    if row.stage != Stage.OPEN:
        changes |= {"stage": Stage.OPEN.value, "csrf": secrets.token_urlsafe(24), "expires_at": now + ABSOLUTE_LIMIT}
    repository.remove_session(row.id_sha256)
    return _under_a_new_id(repository, LoginSession(**row.model_dump() | changes), person)


def find_alive(
    engine: Engine, uses: Uses, secret: str, now: datetime, stages: AbstractSet[Stage]
) -> tuple[LoginSession, User] | None:
    with reading(engine) as session:
        found = AuthRepository(session).find_session(digest(secret))
    if found is None:
        return None
    row, person = found
    last_used_at = max(row.last_used_at, uses.last(row.id_sha256) or row.last_used_at)
    is_over = row.expires_at <= now or last_used_at + IDLE_LIMIT <= now or person.disabled_at is not None
    return None if is_over or row.stage not in stages else found


def _under_a_new_id(repository: AuthRepository, row: LoginSession, person: User) -> SignedIn:
    secret = secrets.token_urlsafe(32)
    row.id_sha256 = digest(secret)
    repository.add(row)
    return SignedIn(secret, console_session_of(row, person), row.expires_at)


def actor_of(person: User) -> Actor:
    return Actor(person.id, person.name, Role(person.role), person.tenant_id, ActorKind.PERSON)


def console_session_of(row: LoginSession, person: User) -> ConsoleSession:
    shown, actor = person.display_name or person.name, actor_of(person)
    return ConsoleSession(
        actor if row.visits is None else replace(actor, tenant_id=row.visits, is_visiting=True),
        row.csrf,
        shown,
        person.language,
        person.theme,
        row.stepped_up_at,
        Stage(row.stage),
        person.totp_sealed != "",
    )


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
