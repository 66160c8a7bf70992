"""Reading what could not be understood, for operators: newest first, of each its size and type, and one with the part
of its payload that was kept. Playing letters again is left to `fleet_server.ingest.replay`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Table, func, select
from sqlmodel import Session

from fleet_server.errors import FleetError
from fleet_server.ingest.models import DeadLetter
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor

_DEAD: Table = DeadLetter.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_NAMES = ("id", "link_id", "topic_kind", "stream", "seq", "reason", "detail", "content_type")
# In the order of `Unread`.
_COLUMNS = (*(_DEAD.c[name] for name in _NAMES), func.length(_DEAD.c.payload), _DEAD.c.received_at)


@dataclass(frozen=True, slots=True)
class Unread:
    id: int
    link_id: str
    topic_kind: str
    stream: str | None
    seq: int | None
    reason: str
    detail: str
    content_type: str
    size_bytes: int
    received_at: datetime


class DeadLetterNotFound(FleetError):
    code = "dead_letter_not_found"
    status = 404


class DeadLetterService:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def page(self, cursor: str | None, limit: int) -> Page[Unread]:
        statement = self._statement()
        if cursor is not None:
            statement = statement.where(_DEAD.c.id < _before(cursor))
        rows = self._session.execute(statement.order_by(_DEAD.c.id.desc()).limit(limit + 1)).all()
        items = [Unread(*row) for row in rows[:limit]]
        return Page(items, encode_cursor(items[-1].id) if len(rows) > limit else None)

    def get(self, id_: int) -> tuple[Unread, bytes]:
        """The letter and what was kept of its payload. Raises ``DeadLetterNotFound``."""
        statement = self._statement().add_columns(_DEAD.c.payload).where(_DEAD.c.id == id_)
        row = self._session.execute(statement).one_or_none()
        if row is None:
            raise DeadLetterNotFound(f"there is no letter {id_}: it was played again, or has become too old")
        *fields, payload = row
        return Unread(*fields), bytes(payload)

    def _statement(self) -> Select[Any]:
        return select(*_COLUMNS).where(_DEAD.c.tenant_id == self._tenant_id)


def _before(cursor: str) -> int:
    before = decode_cursor(cursor, 1)[0]
    if not isinstance(before, int):
        raise CursorInvalid("cursor is not one of this list")
    return before
