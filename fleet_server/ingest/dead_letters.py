"""Reading what could not be understood, for operators: newest first, never the payload itself but its size and type."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from fleet_server.ingest.models import DeadLetter
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor


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


class DeadLetterService:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def page(self, cursor: str | None, limit: int) -> Page[Unread]:
        columns = (
            DeadLetter.id,
            DeadLetter.link_id,
            DeadLetter.topic_kind,
            DeadLetter.stream,
            DeadLetter.seq,
            DeadLetter.reason,
            DeadLetter.detail,
            DeadLetter.content_type,
            func.length(DeadLetter.payload),
            DeadLetter.received_at,
        )
        statement = select(*columns).where(col(DeadLetter.tenant_id) == self._tenant_id)  # type: ignore[call-overload]  # SQLModel types at most four columns
        if cursor is not None:
            statement = statement.where(col(DeadLetter.id) < _before(cursor))
        rows = self._session.execute(statement.order_by(col(DeadLetter.id).desc()).limit(limit + 1)).all()
        items = [Unread(*row) for row in rows[:limit]]
        return Page(items, encode_cursor(items[-1].id) if len(rows) > limit else None)


def _before(cursor: str) -> int:
    before = decode_cursor(cursor, 1)[0]
    if not isinstance(before, int):
        raise CursorInvalid("cursor is not one of this list")
    return before
