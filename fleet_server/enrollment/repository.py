"""Rows of an imported fleet, by the keys of its file."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from fleet_server.devices.models import Device, Site
from fleet_server.enrollment.models import FleetKey, IssuedCertificate, Tenant


class EnrollmentRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def add(self, row: Site | Device | FleetKey | IssuedCertificate | Tenant) -> None:
        self._session.add(row)

    def find_tenant(self) -> Tenant | None:
        return self._session.get(Tenant, self._tenant_id)

    def sites_by_key(self) -> dict[str, Site]:
        statement = (
            select(FleetKey.key, Site)
            .where(FleetKey.tenant_id == self._tenant_id, FleetKey.kind == "site")
            .where(FleetKey.row_id == Site.id)
        )
        return dict(self._session.exec(statement).all())

    def devices_by_key(self) -> dict[str, Device]:
        statement = (
            select(FleetKey.key, Device)
            .where(FleetKey.tenant_id == self._tenant_id, FleetKey.kind == "device")
            .where(FleetKey.row_id == Device.id)
            .order_by(FleetKey.key)
        )
        return dict(self._session.exec(statement).all())

    def find_by_serials(self, serials: Sequence[str]) -> list[Device]:
        found: list[Device] = []
        for start in range(0, len(serials), 500):
            wanted = select(Device).where(Device.tenant_id == self._tenant_id, col(Device.retired_at).is_(None))
            found += self._session.exec(wanted.where(col(Device.serial_number).in_(serials[start : start + 500]))).all()
        return found

    def flush(self) -> None:
        self._session.flush()
