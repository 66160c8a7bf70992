"""Every reading query on the event table. Made for one tenant; never commits."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, or_, text, union_all
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from fleet_server.timeline.models import Event

_NEWEST_ID = col(Event.id).desc()
_NEWEST_OF_ALL = text("SELECT id, received_at FROM newest_event()")
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
            conditions = [col(Event.tenant_id) == self._tenant_id, col(Event.id).in_(union_all(*pages))]
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
        newest = newest_event(self._session)
        return 0 if newest is None else newest[0]


def newest_event(session: Session) -> tuple[int, datetime] | None:
    """Number and moment of what was recorded last, for whichever tenant: they say nothing of anybody."""
    if session.get_bind().dialect.name == "postgresql":
        # Past the policy of tenants, which would look for one's own newest through all that others have.
        row = session.execute(_NEWEST_OF_ALL).first()
    else:
        row = session.execute(sa_select(col(Event.id), col(Event.received_at)).order_by(_NEWEST_ID).limit(1)).first()
    return None if row is None else (row[0], row[1])


def _newest(*conditions: ColumnElement[bool], limit: int) -> Select[tuple[int | None]]:
    """Ids only. Wrapped, for SQLite takes no order and no limit in a part of a union."""
    page = sa_select(col(Event.id)).where(*conditions).order_by(*_NEWEST_FIRST).limit(limit).subquery()
    return sa_select(page.c.id)
