"""The one question that whatever starts something for many devices asks first."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session

from fleet_server.freezes.errors import FreezeInForce
from fleet_server.freezes.repository import FreezeRepository
from fleet_server.freezes.rules import FURTHEST, LONGEST, held_until, starts_in_freeze
from protocol.commands import DangerClass


def require_start(
    session: Session, tenant_id: str, danger_class: DangerClass, now: datetime, *, is_planned: bool
) -> None:
    """Raises `FreezeInForce` for what may not start at this moment."""
    if starts_in_freeze(danger_class, is_planned=is_planned):
        return
    found = FreezeRepository(session, tenant_id).between(now, now + FURTHEST + LONGEST)
    until = held_until(found, now)
    if until is not None:
        raise FreezeInForce(until, "; ".join(one.reason for one in found if one.begins_at <= now < one.ends_at))
