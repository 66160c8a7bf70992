"""Appending to the event table. Whoever changes something that a person may see calls this in the same transaction.

Ids ascend in the order of commits, for event streams read by ``id > last``: SQLite has one writer anyway, on PostgreSQL
the transaction holds an advisory lock from here to its commit. They are known before the commit, so that after it they
can be hinted to every API process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from fleet_server.kit import bulk
from fleet_server.timeline.models import Event

_EVENT = Event.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
# Any constant: every process that numbers events takes the same PostgreSQL advisory lock.
_ORDER_LOCK = 7_451_001


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
    """The ids of the new rows, in order. Call it last in the transaction: all writers of events wait for its end."""
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
    return bulk.append(session, _EVENT, rows, _ORDER_LOCK)
