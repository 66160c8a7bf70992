"""Appending to the event table. Whoever changes something that a person may see calls this in the same transaction.

Ids are known before the commit, so that after it they can be hinted to every API process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select
from sqlmodel import Session

from fleet_server.db import order_events
from fleet_server.kit import bulk
from fleet_server.timeline.models import Event

_EVENT = Event.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_INSERT = insert(_EVENT).returning(_EVENT.c.id, sort_by_parameter_order=True)
_NEWEST = select(func.coalesce(func.max(_EVENT.c.id), 0))


@dataclass(frozen=True, slots=True)
class NewEvent:
    """``at``: when it happened; ``actor``: the person or program that caused it, empty for the device itself."""

    device_id: str
    type: str
    at: datetime
    data: dict[str, Any]
    execution_id: str | None = None
    actor: str = ""


def append_events(session: Session, tenant_id: str, events: Sequence[NewEvent], now: datetime) -> list[int]:
    """The ids of the new rows, in order. Call it last in the transaction (`fleet_server.db.order_events`)."""
    if not events:
        return []
    order_events(session)
    rows = [
        {
            "tenant_id": tenant_id,
            "device_id": one.device_id,
            "type": one.type,
            "execution_id": one.execution_id,
            "at": min(one.at, now),
            "received_at": now,
            "actor": one.actor,
            "data": one.data,
        }
        for one in events
    ]
    # The ORM's own bulk path costs as much as all the rest of a small transaction.
    connection = session.connection()
    if connection.dialect.name != "sqlite" or len(rows) == 1:
        return list(connection.execute(_INSERT, rows).scalars())
    # There it would be one statement a row. Nobody else writes meanwhile, so the numbers are ours to give.
    first: int = connection.execute(_NEWEST).scalar_one() + 1
    bulk.write(session, _EVENT, [{"id": first + place, **row} for place, row in enumerate(rows)])
    return list(range(first, first + len(rows)))
