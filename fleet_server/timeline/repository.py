"""Every reading query on the event table. Made for one tenant; never commits."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, or_, union_all
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from fleet_server.timeline.models import Event

_NEWEST_FIRST = (col(Event.at).desc(), col(Event.id).desc())


class TimelineRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def newest_first(
        self, device_id: str, types: Collection[str], before: tuple[datetime, int] | None, limit: int
    ) -> list[Event]:
        """One device's events by when they happened; no types means all."""
        conditions = [col(Event.device_id) == device_id, col(Event.tenant_id) == self._tenant_id]
        if before is not None:
            at, event_id = before
            # The first condition alone walks the index; the second is for events of the same moment.
            same = and_(col(Event.at) == at, col(Event.id) < event_id)
            conditions += [col(Event.at) <= at, or_(col(Event.at) < at, same)]
        if types:
            # Each type by its own walk along the index: types of which there is nothing then cost nothing.
            pages = [_newest(*conditions, col(Event.type) == type_, limit=limit) for type_ in sorted(set(types))]
            conditions = [col(Event.id).in_(union_all(*pages))]
        statement = select(Event).where(*conditions).order_by(*_NEWEST_FIRST).limit(limit)
        return list(self._session.exec(statement))

    def of_execution(self, execution_id: str, after_id: int, limit: int) -> list[Event]:
        """In the order in which they were recorded."""
        statement = select(Event).where(
            col(Event.execution_id) == execution_id,
            col(Event.tenant_id) == self._tenant_id,
            col(Event.id) > after_id,
        )
        return list(self._session.exec(statement.order_by(col(Event.id)).limit(limit)))

    def newest_id(self) -> int:
        """Of all tenants' events; 0 when there is none."""
        return self._session.exec(select(Event.id).order_by(col(Event.id).desc()).limit(1)).first() or 0


def _newest(*conditions: ColumnElement[bool], limit: int) -> Select[tuple[int | None]]:
    """Ids only. Wrapped, for SQLite takes no order and no limit in a part of a union."""
    page = sa_select(col(Event.id)).where(*conditions).order_by(*_NEWEST_FIRST).limit(limit).subquery()
    return sa_select(page.c.id)
