"""Queries on enrolments and on the devices that they become. Made for one tenant, but for what a code itself finds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import Session, col, select

from fleet_server.devices.models import Device, Site
from fleet_server.enrollment.models import Enrolment, IssuedCertificate

_ENROLMENT = Enrolment.__table__  # type: ignore[attr-defined]  # SQLModel tables have it


class EnrolmentRows:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def add(self, row: Enrolment | IssuedCertificate) -> None:
        self._session.add(row)
        self._session.flush()

    def get(self, enrolment_id: str) -> Enrolment | None:
        statement = select(Enrolment).where(Enrolment.id == enrolment_id, Enrolment.tenant_id == self._tenant_id)
        return self._session.exec(statement.with_for_update()).one_or_none()

    def decide(self, row: Enrolment, state: str, by: str, now: datetime) -> None:
        self._change(row, state=state, decided_by=by, decided_at=now)

    def place(self, row: Enrolment, site_id: str) -> None:
        self._change(row, site_id=site_id)

    def _change(self, row: Enrolment, **values: str | datetime) -> None:
        mine = (_ENROLMENT.c.id == row.id, _ENROLMENT.c.tenant_id == self._tenant_id)
        self._session.execute(update(_ENROLMENT).where(*mine).values(**values))
        for name, value in values.items():
            # As if it had been read like this: there is nothing left to write.
            set_committed_value(row, name, value)

    def list_newest(self, state: str | None, before_id: str | None, limit: int) -> Sequence[Enrolment]:
        statement = select(Enrolment).where(Enrolment.tenant_id == self._tenant_id)
        if state is not None:
            statement = statement.where(Enrolment.state == state)
        if before_id is not None:
            statement = statement.where(col(Enrolment.id) < before_id)
        return self._session.exec(statement.order_by(col(Enrolment.id).desc()).limit(limit)).all()

    def has_site(self, site_id: str) -> bool:
        statement = select(Site.id).where(Site.id == site_id, Site.tenant_id == self._tenant_id)
        return self._session.exec(statement).one_or_none() is not None

    def sites_named(self, text: str) -> Sequence[str]:
        """At most two."""
        named = (col(Site.id) == text) | (col(Site.merchant_id) == text)
        return self._session.exec(select(Site.id).where(Site.tenant_id == self._tenant_id, named).limit(2)).all()

    def site(self, site_id: str) -> Site:
        return self._session.exec(select(Site).where(Site.id == site_id, Site.tenant_id == self._tenant_id)).one()

    def device_of_serial(self, serial_number: str) -> Device | None:
        """In service."""
        statement = select(Device).where(
            Device.tenant_id == self._tenant_id,
            Device.serial_number == serial_number,
            col(Device.retired_at).is_(None),
        )
        return self._session.exec(statement.limit(1)).one_or_none()

    def attached(self, link_id: str) -> dict[str, str]:
        """Ids by line."""
        statement = select(Device.line, Device.id).where(
            Device.tenant_id == self._tenant_id, Device.link_id == link_id, col(Device.retired_at).is_(None)
        )
        return {line: id_ for line, id_ in self._session.exec(statement) if line is not None}

    def returning(self, device_id: str) -> Enrolment | None:
        """The newest request of a device that slept too long."""
        statement = (
            select(Enrolment)
            .where(Enrolment.device_id == device_id, Enrolment.kind == "return")
            .order_by(col(Enrolment.id).desc())
            .limit(1)
            .with_for_update()
        )
        return self._session.exec(statement).one_or_none()

    def has_certificate(self, serial: str) -> bool:
        return self._session.get(IssuedCertificate, serial) is not None


def find_by_secret(session: Session, secret_sha256: str) -> Enrolment | None:
    """Whoever asks has nothing but the code: it says which tenant."""
    statement = select(Enrolment).where(Enrolment.secret_sha256 == secret_sha256).with_for_update()
    return session.exec(statement).one_or_none()


def find_link(session: Session, link_id: str) -> Device | None:
    """A link that is in service, of whichever tenant: it proves by its key who it is."""
    statement = select(Device).where(Device.id == link_id, Device.link_id == link_id, col(Device.retired_at).is_(None))
    return session.exec(statement).one_or_none()
