"""Who asked for something that goes on while they are away: found again, with what they may do now."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session

from fleet_server.auth.accounts import token_actor
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, ActorKind
from fleet_server.auth.sessions import actor_of


def find_absent(session: Session, tenant_id: str, kind: str, actor_id: str, now: datetime) -> Actor | None:
    """None when the account is gone or may do nothing any more."""
    repository = AuthRepository(session)
    if kind == ActorKind.TOKEN:
        row = repository.find_token_by_id(tenant_id, actor_id)
        return None if row is None else token_actor(row, now)
    person = repository.find_person_by_id(tenant_id, actor_id)
    return None if person is None or person.disabled_at is not None else actor_of(person)
