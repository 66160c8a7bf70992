"""Rows of an imported fleet, by the keys of its file. Whole tables only as the few columns that are wanted of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, select
from sqlmodel import Session

from fleet_server.devices.models import Device
from fleet_server.enrollment.models import FleetKey, IssuedCertificate

_DEVICE: Table = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_CERTIFICATE: Table = IssuedCertificate.__table__  # type: ignore[attr-defined]  # as above
_KEY: Table = FleetKey.__table__  # type: ignore[attr-defined]  # as above
DEVICE_KEYS = "device"
SITE_KEYS = "site"


@dataclass(frozen=True, slots=True)
class EnrolledDevice:
    """What enrolment needs to know of a device that is not retired."""

    key: str
    id: str
    tenant_id: str
    kind: str
    link_id: str
    line: str | None
    serial_number: str
    model: str
    terminal_class: str
    last_seen_at: datetime | None


_ENROLLED = [_KEY.c.key, *(_DEVICE.c[name] for name in EnrolledDevice.__slots__ if name != "key")]


class EnrollmentRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def add(self, row: IssuedCertificate) -> None:
        self._session.add(row)

    def ids_by_key(self, kind: str) -> dict[str, str]:
        """All at once: asked for in pieces, each piece would read the table that the ones before have filled."""
        statement = select(_KEY.c.key, _KEY.c.row_id).where(_KEY.c.tenant_id == self._tenant_id, _KEY.c.kind == kind)
        return {row.key: row.row_id for row in self._session.execute(statement)}

    def find_rows(self, table: Table, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """By id."""
        if not ids:
            return {}
        rows = self._session.execute(select(table).where(table.c.id.in_(ids))).mappings()
        return {str(row["id"]): {**row} for row in rows}

    def list_enrolled(self) -> Iterator[EnrolledDevice]:
        """By key."""
        statement = (
            select(*_ENROLLED)
            .where(_KEY.c.tenant_id == self._tenant_id, _KEY.c.kind == DEVICE_KEYS)
            .where(_KEY.c.row_id == _DEVICE.c.id, _DEVICE.c.retired_at.is_(None))
            .order_by(_KEY.c.key)
        )
        for row in self._session.execute(statement):
            yield EnrolledDevice(*row)

    def serials(self) -> Iterator[tuple[str, str, bool]]:
        """Of every device its id, its serial number and whether it is in service."""
        statement = select(_DEVICE.c.id, _DEVICE.c.serial_number, _DEVICE.c.retired_at.is_(None)).where(
            _DEVICE.c.tenant_id == self._tenant_id
        )
        for id_, serial, in_service in self._session.execute(statement):
            yield id_, serial, bool(in_service)

    def newest_serials(self) -> dict[str, str]:
        """Of each link the serial number of the certificate that it was given last."""
        statement = (
            select(_CERTIFICATE.c.link_id, _CERTIFICATE.c.serial)
            .where(_CERTIFICATE.c.tenant_id == self._tenant_id)
            .order_by(_CERTIFICATE.c.issued_at, _CERTIFICATE.c.not_after)
        )
        return {row.link_id: row.serial for row in self._session.execute(statement)}
