"""Every query on freezes: those of one tenant, and those of all. Never commits."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, func, or_
from sqlmodel import Session, col, select

from fleet_server.freezes.models import Freeze


class FreezeRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def add(self, row: Freeze) -> None:
        self._session.add(row)
        self._session.flush()

    def get(self, freeze_id: str) -> Freeze | None:
        return self._session.exec(select(Freeze).where(self._holds_here(), col(Freeze.id) == freeze_id)).first()

    def get_own_locked(self, freeze_id: str) -> Freeze | None:
        """As it stands now, whoever has read it before."""
        mine = (col(Freeze.tenant_id) == self._tenant_id, col(Freeze.id) == freeze_id)
        statement = select(Freeze).where(*mine).with_for_update().execution_options(populate_existing=True)
        return self._session.exec(statement).first()

    def newest_first(self, ends_after: datetime | None, before: str | None, limit: int) -> list[Freeze]:
        """``ends_after``: only those that are in force then or later. ``before``: an id."""
        statement = select(Freeze).where(self._holds_here())
        if ends_after is not None:
            statement = statement.where(col(Freeze.ends_at) > ends_after)
        if before is not None:
            statement = statement.where(col(Freeze.id) < before)
        return list(self._session.exec(statement.order_by(col(Freeze.id).desc()).limit(limit)))

    def between(self, now: datetime, until: datetime) -> list[Freeze]:
        """Those that are in force at some moment from ``now`` to ``until``, in the order in which they begin."""
        statement = select(Freeze).where(
            self._holds_here(),
            col(Freeze.ends_at) > now,
            col(Freeze.begins_at) <= until,
            col(Freeze.begins_at) < col(Freeze.ends_at),
        )
        return list(self._session.exec(statement.order_by(col(Freeze.begins_at), col(Freeze.id))))

    def count_open(self, now: datetime) -> int:
        mine = (col(Freeze.tenant_id) == self._tenant_id, col(Freeze.ends_at) > now)
        return self._session.exec(select(func.count()).where(*mine)).one()

    def _holds_here(self) -> ColumnElement[bool]:
        return or_(col(Freeze.tenant_id) == self._tenant_id, col(Freeze.of_all).is_(True))
