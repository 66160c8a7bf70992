"""An operator of the installation looks into another tenant: chosen by name, written into that tenant's audit, and with
what `fleet_server.auth.roles.VISITING` leaves of the role, which runs nothing.

In the console a session carries the visit until it is ended; a program gets a token of its own for an hour. Both are
asked for here in transactions that keep to no tenant: whoever decides belongs to one, what is written to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.accounts import new_token, token_digest
from fleet_server.auth.errors import RoleTooLow
from fleet_server.auth.models import ApiToken
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, Permission, Role
from fleet_server.auth.sessions import actor_of, digest
from fleet_server.db import reading, transaction
from fleet_server.kit.identifiers import uuid7
from fleet_server.tenants.errors import TenantUnknown
from fleet_server.tenants.models import Tenant
from fleet_server.tenants.repository import TenantRepository

TOKEN_LIFE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class VisitToken:
    """``token`` is kept nowhere."""

    token: str
    tenant_id: str
    until: datetime


class Visits:
    """``own_tenant``: the installation's; nobody of another one visits."""

    def __init__(self, engine: Engine, own_tenant: str) -> None:
        self._engine = engine
        self._own_tenant = own_tenant

    def tenants(self, actor: Actor) -> Sequence[Tenant]:
        if not actor.is_visiting:
            self._require(actor)
        with reading(self._engine) as session:
            return TenantRepository(session).list()

    def begin(self, secret: str, tenant_id: str, now: datetime) -> None:
        """For the session of this cookie; from one visit to the next too."""
        with transaction(self._engine) as session:
            people = AuthRepository(session)
            found = people.find_session(digest(secret))
            if found is None:
                return
            row, person = found
            at_home = self._require(actor_of(person))
            if tenant_id == self._own_tenant:
                row.visits = None
                return
            self._known(TenantRepository(session), tenant_id)
            row.visits = tenant_id
            self._note("visit_begun", session, at_home, tenant_id, now)

    def end(self, secret: str, now: datetime) -> None:
        with transaction(self._engine) as session:
            found = AuthRepository(session).find_session(digest(secret))
            if found is not None and found[0].visits is not None:
                row, person = found
                self._note("visit_ended", session, actor_of(person), str(row.visits), now)
                row.visits = None

    def token(self, actor: Actor, tenant_id: str, now: datetime) -> VisitToken:
        """With the scopes of the one that asks."""
        self._require(actor)
        token, until = new_token(), now + TOKEN_LIFE
        with transaction(self._engine) as session:
            self._known(TenantRepository(session), tenant_id)
            row = ApiToken(
                id=uuid7(now),
                tenant_id=tenant_id,
                name=f"visit of {actor.name}"[:80],
                token_sha256=token_digest(token),
                role=Role.OPERATOR.value,
                scopes=None if actor.scopes is None else sorted(actor.scopes),
                created_at=now,
                expires_at=until,
                is_visit=True,
            )
            AuthRepository(session).add(row)
            self._note("visit_begun", session, actor, tenant_id, now)
        return VisitToken(token, tenant_id, until)

    def _require(self, actor: Actor) -> Actor:
        if actor.is_visiting or actor.tenant_id != self._own_tenant or not actor.may(Permission.TENANTS_MANAGE):
            raise RoleTooLow(Permission.TENANTS_MANAGE, actor)
        return actor

    @staticmethod
    def _known(tenants: TenantRepository, tenant_id: str) -> None:
        if tenants.find(tenant_id) is None:
            raise TenantUnknown(f"there is no tenant {tenant_id[:64]!r}")

    @staticmethod
    def _note(action: str, session: Session, actor: Actor, tenant_id: str, now: datetime) -> None:
        guest = replace(actor, tenant_id=tenant_id, is_visiting=True)
        record(session, guest, action, tenant_id, {"by": actor.kind.value}, personal={"name": actor.name}, now=now)
