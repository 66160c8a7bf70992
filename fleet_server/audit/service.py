"""Who did what: written in the transaction of the deed itself, so that neither exists without the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from fleet_server.audit.models import AuditEntry
from fleet_server.audit.repository import AuditRepository
from fleet_server.auth.roles import Actor
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.kit.times import utc_now

SYSTEM = "system"  # the program itself, such as ``fleet-server init``


def record(
    session: Session,
    actor: Actor,
    action: str,
    target: str = "",
    data: Mapping[str, Any] | None = None,
    *,
    address: str = "",
    now: datetime | None = None,
) -> None:
    """``action`` is a stable word such as ``sign_in``; ``data`` never holds a secret."""
    session.add(
        AuditEntry(
            tenant_id=actor.tenant_id,
            at=now or utc_now(),
            actor=actor.name[:120],
            action=action,
            target=target[:120],
            address=address[:64],
            data=dict(data or {}),
        )
    )


@dataclass(frozen=True, slots=True)
class AuditFilter:
    actor: str | None = None
    action: str | None = None
    target: str | None = None


class AuditService:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._repository = AuditRepository(session, tenant_id)

    def page(self, where: AuditFilter, cursor: str | None, limit: int) -> Page[AuditEntry]:
        """Newest first."""
        before = decode_cursor(cursor, 1)[0] if cursor else None
        if not isinstance(before, int | None):
            raise CursorInvalid("cursor is not one of this list")
        rows = self._repository.list_newest(
            before_id=before, actor=where.actor, action=where.action, target=where.target, limit=limit + 1
        )
        shown = list(rows[:limit])
        return Page(shown, encode_cursor(shown[-1].id) if len(rows) > limit else None)
