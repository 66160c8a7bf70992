"""The tenants of an installation: made, renamed, suspended. What happens to one is in its own audit and in that of the
installation.

A suspended tenant is shut for people and programs, not for terminals: sign-ins and tokens are refused and sessions end,
no code lets a device in, nothing is sent to terminals; what they report is taken and kept as before, and what waits for
them ends by its own deadline. So a quarrel about a bill costs no terminal its memory, and taking it back costs nothing.
The installation's own tenant cannot be suspended.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.people import People
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, Role
from fleet_server.tenants.errors import OwnTenant, TenantTaken, TenantUnknown, TenantUnusable
from fleet_server.tenants.models import Tenant
from fleet_server.tenants.repository import TenantRepository

# Also a folder and a part of file names.
_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,31}\Z")
MAX_NAME_CHARS = 120


@dataclass(frozen=True, slots=True)
class Administrator:
    """Chooses a password with the code, which is kept nowhere."""

    name: str
    set_up_code: str


class TenantService:
    """``actor``: somebody of the installation's own tenant."""

    def __init__(self, session: Session, actor: Actor, now: datetime) -> None:
        self._session = session
        self._tenants = TenantRepository(session)
        self._actor = actor
        self._now = now

    def list(self) -> Sequence[Tenant]:
        return self._tenants.list()

    def get(self, tenant_id: str) -> Tenant:
        found = self._tenants.find(tenant_id)
        if found is None:
            raise TenantUnknown(f"there is no tenant {tenant_id[:64]!r}: 'fleet-server tenants list' names them")
        return found

    def add(self, tenant_id: str, name: str, administrator: str) -> Administrator:
        if not _ID.match(tenant_id):
            raise TenantUnusable("an id has 2 to 32 characters of a-z, 0-9 and -, and does not begin with -")
        if self._tenants.find(tenant_id) is not None:
            raise TenantTaken(f"there is a tenant {tenant_id} already")
        self._tenants.add(Tenant(id=tenant_id, name=_usable(name), created_at=self._now))
        self._note("tenant_added", tenant_id, name=name)
        people = People(self._session, self._actor_in(tenant_id), self._now)
        return Administrator(administrator, people.add(administrator, Role.TENANT_ADMIN)[1])

    def rename(self, tenant_id: str, name: str) -> None:
        before = self.get(tenant_id).name
        self._tenants.change(tenant_id, {"name": _usable(name)})
        self._note("tenant_renamed", tenant_id, name=name, before=before)

    def suspend(self, tenant_id: str, reason: str) -> None:
        """All sessions of its people end; tokens are refused within seconds."""
        if tenant_id == self._actor.tenant_id:
            raise OwnTenant("the installation's own tenant cannot be suspended: nobody could take it back")
        if self.get(tenant_id).suspended_at is None:
            self._tenants.change(tenant_id, {"suspended_at": self._now})
            AuthRepository(self._session).remove_sessions_in(tenant_id)
            self._note("tenant_suspended", tenant_id, reason=reason)

    def resume(self, tenant_id: str) -> None:
        if self.get(tenant_id).suspended_at is not None:
            self._tenants.change(tenant_id, {"suspended_at": None})
            self._note("tenant_resumed", tenant_id)

    def _actor_in(self, tenant_id: str) -> Actor:
        return Actor(self._actor.id, self._actor.name, self._actor.role, tenant_id, self._actor.kind)

    def _note(self, action: str, tenant_id: str, **data: str) -> None:
        for actor in (self._actor, self._actor_in(tenant_id)):
            record(self._session, actor, action, tenant_id, data, now=self._now)


def _usable(name: str) -> str:
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable() or name != name.strip():
        raise TenantUnusable(f"a name has 1 to {MAX_NAME_CHARS} printable characters and no space at either end")
    return name
