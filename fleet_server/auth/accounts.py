"""People and programs that may ask: made, changed, switched off. Every change is in the audit."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime

from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.errors import NameTaken, ScopesBeyondRole
from fleet_server.auth.models import ApiToken, User
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, ActorKind, Permission, Role
from fleet_server.kit.identifiers import uuid7

TOKEN_PREFIX = "tm_"  # noqa: S105  # what every token begins with, so that leaked ones are recognised
MAX_TOKEN_CHARS = 128


class Accounts:
    """``actor`` makes the change. Passwords come hashed, because hashing is slow and this runs in a transaction."""

    def __init__(self, session: Session, actor: Actor, now: datetime) -> None:
        self._session = session
        self._repository = AuthRepository(session)
        self._actor = actor
        self._now = now

    def add_person(self, name: str, password_hash: str, role: Role) -> User:
        if self._repository.find_person(name) is not None:
            raise NameTaken(f"there is a person named {name} already")
        person = User(
            id=uuid7(self._now),
            tenant_id=self._actor.tenant_id,
            name=name,
            password_hash=password_hash,
            role=role.value,
            created_at=self._now,
        )
        self._repository.add(person)
        self._note("person_added", name, role=role.value)
        return person

    def set_password(self, name: str, password_hash: str) -> bool:
        """Ends all sessions of that person. False when there is nobody of that name."""
        person = self._repository.lock_person(name)
        if person is None or person.tenant_id != self._actor.tenant_id:
            return False
        person.password_hash, person.failed_count, person.locked_until = password_hash, 0, None
        person.set_up_sha256, person.set_up_until = "", None
        self._repository.remove_sessions_of(person)
        self._note("password_set", name)
        return True

    def set_role(self, name: str, role: Role) -> None:
        """Ends all sessions of that person: what was opened with the rights of before is not carried on."""
        person = self._repository.lock_person(name)
        if person is not None and person.tenant_id == self._actor.tenant_id and person.role != role.value:
            person.role = role.value
            self._repository.remove_sessions_of(person)
            self._note("role_set", name, role=role.value)

    def set_preferences(self, *, language: str | None = None, theme: str | None = None) -> None:
        """The actor's own."""
        asked = {"language": language, "theme": theme}
        chosen = {name: value for name, value in asked.items() if value is not None}
        if chosen:
            self._repository.set_preferences(self._actor.tenant_id, self._actor.id, chosen)
            self._note("preferences_set", self._actor.name, **chosen)

    def issue_token(
        self, name: str, role: Role, expires_at: datetime | None = None, scopes: Collection[Permission] | None = None
    ) -> str:
        """The token itself, which is kept nowhere. ``scopes``: of what the role may only these; all of it without."""
        self._refuse_beyond(role, scopes)
        token = new_token()
        self._repository.add(
            ApiToken(
                id=uuid7(self._now),
                tenant_id=self._actor.tenant_id,
                name=name,
                token_sha256=token_digest(token),
                role=role.value,
                scopes=None if scopes is None else sorted(scopes),
                created_at=self._now,
                expires_at=expires_at,
            )
        )
        narrowed = {} if scopes is None else {"scopes": " ".join(sorted(scopes))}
        self._note("token_issued", name, role=role.value, **narrowed)
        return token

    def revoke_token(self, name: str) -> bool:
        row = self._repository.find_token_named(self._actor.tenant_id, name)
        if row is None:
            return False
        row.revoked_at = self._now
        self._note("token_revoked", name)
        return True

    @staticmethod
    def _refuse_beyond(role: Role, scopes: Collection[Permission] | None) -> None:
        beyond = set(scopes or ()) - role.permissions
        if beyond:
            raise ScopesBeyondRole(f"the role {role} does not have {', '.join(sorted(beyond))}")

    def _note(self, action: str, target: str, **data: str) -> None:
        record(self._session, self._actor, action, target, data, now=self._now)


def find_token_actor(session: Session, token: str, now: datetime) -> Actor | None:
    row = AuthRepository(session).find_token(token_digest(token))
    return None if row is None else token_actor(row, now)


def token_actor(row: ApiToken, now: datetime) -> Actor | None:
    """None once it is revoked or over."""
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return None
    # A scope of a version that came before or after this one allows nothing.
    scopes = None if row.scopes is None else frozenset(one for one in Permission if one.value in row.scopes)
    return Actor(row.id, row.name, Role(row.role), row.tenant_id, ActorKind.TOKEN, scopes, is_visiting=row.is_visit)


def new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
