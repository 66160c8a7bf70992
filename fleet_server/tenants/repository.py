"""Every query on tenants. Unlike others it is of the whole installation; who asks decides whether it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, exists, select, update
from sqlmodel import Session

from fleet_server.tenants.models import Tenant

_TENANT: Table = Tenant.__table__  # type: ignore[attr-defined]  # SQLModel tables have it


class TenantRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, tenant: Tenant) -> None:
        self._session.add(tenant)
        self._session.flush()

    def find(self, tenant_id: str) -> Tenant | None:
        return self._session.get(Tenant, tenant_id)

    def list(self) -> Sequence[Tenant]:
        rows = self._session.execute(select(_TENANT).order_by(_TENANT.c.id)).mappings()
        return [Tenant(**row) for row in rows]

    def ids(self) -> Sequence[str]:
        return self._session.execute(select(_TENANT.c.id).order_by(_TENANT.c.id)).scalars().all()

    def change(self, tenant_id: str, values: Mapping[str, Any]) -> None:
        self._session.execute(update(_TENANT).where(_TENANT.c.id == tenant_id).values(**values))


def is_suspended(session: Session, tenant_id: str) -> bool:
    return bool(session.execute(select(suspended(tenant_id))).scalar_one())


def suspended(tenant_id: Any) -> ColumnElement[bool]:
    """For a query of somebody else: whether the tenant of this column, or of this id, is suspended."""
    return exists().where(_TENANT.c.id == tenant_id, _TENANT.c.suspended_at.is_not(None))


def ensure_tenant(session: Session, tenant_id: str, now: datetime) -> None:
    tenants = TenantRepository(session)
    if tenants.find(tenant_id) is None:
        tenants.add(Tenant(id=tenant_id, name=tenant_id, created_at=now))
