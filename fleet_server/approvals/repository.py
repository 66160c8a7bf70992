"""Every query on approvals and permits. Made for one tenant; never commits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update
from sqlmodel import Session, col, select

from fleet_server.approvals.models import BREAK_GLASS, Approval, ApprovalSignature, ShiftPermit

MAX_LISTED = 200


class ApprovalRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def add(self, row: Approval | ApprovalSignature | ShiftPermit) -> None:
        self._session.add(row)
        self._session.flush()

    def get(self, execution_id: str) -> Approval | None:
        statement = select(Approval).where(
            col(Approval.execution_id) == execution_id, col(Approval.tenant_id) == self._tenant_id
        )
        return self._session.exec(statement).first()

    def list_open(self, now: datetime) -> Sequence[Approval]:
        """Oldest first."""
        statement = select(Approval).where(
            col(Approval.tenant_id) == self._tenant_id,
            col(Approval.is_open).is_(True),
            col(Approval.expires_at) > now,
        )
        return self._session.exec(statement.order_by(col(Approval.created_at)).limit(MAX_LISTED)).all()

    def close(self, execution_id: str) -> None:
        statement = update(Approval).where(
            col(Approval.execution_id) == execution_id, col(Approval.tenant_id) == self._tenant_id
        )
        self._session.execute(statement.values(is_open=False))

    def signatures(self, execution_ids: Sequence[str]) -> Sequence[ApprovalSignature]:
        statement = select(ApprovalSignature).where(
            col(ApprovalSignature.execution_id).in_(execution_ids),
            col(ApprovalSignature.tenant_id) == self._tenant_id,
        )
        return self._session.exec(statement.order_by(col(ApprovalSignature.signed_at))).all()

    def permit(self, permit_id: str) -> ShiftPermit | None:
        statement = select(ShiftPermit).where(
            col(ShiftPermit.id) == permit_id, col(ShiftPermit.tenant_id) == self._tenant_id
        )
        return self._session.exec(statement).first()

    def withdraw(self, permit_id: str, now: datetime) -> None:
        """Once: a later word changes nothing."""
        statement = update(ShiftPermit).where(
            col(ShiftPermit.id) == permit_id,
            col(ShiftPermit.tenant_id) == self._tenant_id,
            col(ShiftPermit.withdrawn_at).is_(None),
        )
        self._session.execute(statement.values(withdrawn_at=now))

    def live_permits(self, now: datetime) -> Sequence[ShiftPermit]:
        """Those that hold now, the one that ends first first."""
        statement = select(ShiftPermit).where(
            col(ShiftPermit.tenant_id) == self._tenant_id,
            col(ShiftPermit.not_before) <= now,
            col(ShiftPermit.not_after) > now,
            col(ShiftPermit.withdrawn_at).is_(None),
        )
        return self._session.exec(statement.order_by(col(ShiftPermit.not_after)).limit(MAX_LISTED)).all()

    def live_broken_glass(self, now: datetime) -> Sequence[ShiftPermit]:
        """What a break-glass key allows now, the one that ends last first."""
        statement = select(ShiftPermit).where(
            col(ShiftPermit.tenant_id) == self._tenant_id,
            col(ShiftPermit.not_after) > now,
            col(ShiftPermit.people) == BREAK_GLASS,
            col(ShiftPermit.withdrawn_at).is_(None),
        )
        return self._session.exec(statement.order_by(col(ShiftPermit.not_after).desc()).limit(MAX_LISTED)).all()

    def list_permits(self, since: datetime) -> Sequence[ShiftPermit]:
        """Those that ended after ``since``, newest first."""
        statement = select(ShiftPermit).where(
            col(ShiftPermit.tenant_id) == self._tenant_id, col(ShiftPermit.not_after) > since
        )
        return self._session.exec(statement.order_by(col(ShiftPermit.created_at).desc()).limit(MAX_LISTED)).all()
