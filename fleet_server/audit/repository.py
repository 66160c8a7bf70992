"""Questions to the audit table of one tenant."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from fleet_server.audit.models import AuditEntry


class AuditRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def list_newest(
        self, *, before_id: int | None, actor: str | None, action: str | None, target: str | None, limit: int
    ) -> Sequence[AuditEntry]:
        statement = select(AuditEntry).where(AuditEntry.tenant_id == self._tenant_id)
        if before_id is not None:
            statement = statement.where(col(AuditEntry.id) < before_id)
        for column, wanted in ((AuditEntry.actor, actor), (AuditEntry.action, action), (AuditEntry.target, target)):
            if wanted:
                statement = statement.where(col(column) == wanted)
        return self._session.exec(statement.order_by(col(AuditEntry.id).desc()).limit(limit)).all()
