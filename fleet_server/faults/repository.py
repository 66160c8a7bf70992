"""Every reading query on faults. Made for one tenant; never commits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_
from sqlmodel import Session, col, select

from fleet_server.assignments.narrowing import assigned_devices
from fleet_server.faults.models import Fault


@dataclass(frozen=True, slots=True)
class FaultFilters:
    device: str | None = None
    code: str | None = None
    is_open: bool | None = None


class FaultRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def open_of(self, device_ids: Collection[str], limit: int) -> list[Fault]:
        """Newest first."""
        statement = select(Fault).where(
            col(Fault.tenant_id) == self._tenant_id, col(Fault.is_open).is_(True), col(Fault.device_id).in_(device_ids)
        )
        return list(self._session.exec(statement.order_by(col(Fault.raised_at).desc(), col(Fault.id)).limit(limit)))

    def raised_between(self, device_id: str, begin: datetime, end: datetime, limit: int) -> list[Fault]:
        """From ``begin`` (in) to ``end`` (out), newest first."""
        statement = select(Fault).where(
            col(Fault.tenant_id) == self._tenant_id,
            col(Fault.device_id) == device_id,
            col(Fault.raised_at) >= begin,
            col(Fault.raised_at) < end,
        )
        return list(self._session.exec(statement.order_by(col(Fault.raised_at).desc(), col(Fault.id)).limit(limit)))

    def raised_often(self, device_id: str, since: datetime, times: int) -> dict[str, int]:
        """Codes that were raised at least so often since then, and how often."""
        number = func.count()
        statement = (
            select(Fault.code, number)
            .where(
                col(Fault.tenant_id) == self._tenant_id,
                col(Fault.device_id) == device_id,
                col(Fault.raised_at) >= since,
            )
            .group_by(col(Fault.code))
            .having(number >= times)
        )
        return dict(self._session.exec(statement).all())

    def devices_with(self, code: str, limit: int) -> list[str]:
        statement = select(Fault.device_id).where(
            col(Fault.tenant_id) == self._tenant_id,
            col(Fault.is_open).is_(True),
            col(Fault.code) == code,
            *assigned_devices(self._session, col(Fault.device_id)),
        )
        return list(self._session.exec(statement.distinct().limit(limit)))

    def newest_first(self, filters: FaultFilters, before: tuple[datetime, str] | None, limit: int) -> list[Fault]:
        seen = assigned_devices(self._session, col(Fault.device_id))
        statement = select(Fault).where(col(Fault.tenant_id) == self._tenant_id, *seen)
        if filters.device is not None:
            statement = statement.where(col(Fault.device_id) == filters.device)
        if filters.code is not None:
            statement = statement.where(col(Fault.code) == filters.code)
        if filters.is_open is not None:
            statement = statement.where(col(Fault.is_open).is_(filters.is_open))
        if before is not None:
            raised_at, fault_id = before
            same = and_(col(Fault.raised_at) == raised_at, col(Fault.id) < fault_id)
            statement = statement.where(or_(col(Fault.raised_at) < raised_at, same))
        ordered = statement.order_by(col(Fault.raised_at).desc(), col(Fault.id).desc())
        return list(self._session.exec(ordered.limit(limit)))
