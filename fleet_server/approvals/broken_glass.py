"""What break-glass allows at this moment, for every page to say: it is meant to be loud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.approvals.repository import ApprovalRepository
from fleet_server.kit.tenant_look import LOOK_EVERY_S, TenantLook


@dataclass(frozen=True, slots=True)
class BrokenGlass:
    id: str
    actions: tuple[str, ...]
    reason: str
    until: datetime


class BreakGlassWatch:
    def __init__(self, engine: Engine, look_every_s: float = LOOK_EVERY_S) -> None:
        self._look = TenantLook(engine, _live, "break-glass", look_every_s)

    def live(self, tenant_id: str, now: datetime) -> Sequence[BrokenGlass]:
        return [one for one in self._look.known(tenant_id, now) if one.until > now]


def _live(session: Session, tenant_id: str, now: datetime) -> list[BrokenGlass]:
    rows = ApprovalRepository(session, tenant_id).live_broken_glass(now)
    return [BrokenGlass(row.id, tuple(str(one) for one in row.actions), row.reason, row.not_after) for row in rows]
