"""The freezes that hold at this moment or soon will, for pages to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.freezes.repository import FreezeRepository
from fleet_server.freezes.rules import ANNOUNCED
from fleet_server.kit.tenant_look import LOOK_EVERY_S, TenantLook


@dataclass(frozen=True, slots=True)
class FreezeAhead:
    """``is_in_force``: at this moment; else it begins within a day."""

    begins_at: datetime
    ends_at: datetime
    reason: str
    by: str
    is_in_force: bool


class FreezeWatch:
    def __init__(self, engine: Engine, look_every_s: float = LOOK_EVERY_S) -> None:
        self._look = TenantLook(engine, _ahead, "freezes", look_every_s)

    def ahead(self, tenant_id: str, now: datetime) -> Sequence[FreezeAhead]:
        """In the order in which they begin."""
        return [
            FreezeAhead(begins_at, ends_at, reason, by, begins_at <= now)
            for begins_at, ends_at, reason, by in self._look.known(tenant_id, now)
            if ends_at > now and begins_at <= now + ANNOUNCED
        ]

    def look_again(self) -> None:
        """One was declared or ended here: the next page says so."""
        self._look.look_again()


def _ahead(session: Session, tenant_id: str, now: datetime) -> list[tuple[datetime, datetime, str, str]]:
    # A page that is asked for before the next look must know of what comes into its day meanwhile.
    found = FreezeRepository(session, tenant_id).between(now, now + 2 * ANNOUNCED)
    return [(row.begins_at, row.ends_at, row.reason, row.created_by) for row in found]
