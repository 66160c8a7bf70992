"""How many identities are not as they should be, of all tenants together, for whoever watches the installation."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlmodel import Session

from fleet_server.devices.models import Device
from fleet_server.enrollment.models import IssuedCertificate, Retirement

_RETIREMENT = Retirement.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_CERTIFICATE = IssuedCertificate.__table__  # type: ignore[attr-defined]  # as above
_DEVICE = Device.__table__  # type: ignore[attr-defined]  # as above


def retirements_waiting(session: Session) -> int:
    statement = select(func.count()).select_from(_RETIREMENT).where(_RETIREMENT.c.enforced_at.is_(None))
    return int(session.execute(statement).scalar_one())


def links_past_their_end(session: Session, now: datetime) -> int:
    """Devices in service, of all tenants, whose newest certificate has ended: they sleep, or cannot renew."""
    newest = (
        select(_CERTIFICATE.c.link_id, func.max(_CERTIFICATE.c.not_after).label("ends_at"))
        .group_by(_CERTIFICATE.c.link_id)
        .subquery()
    )
    statement = (
        select(func.count())
        .select_from(newest.join(_DEVICE, _DEVICE.c.id == newest.c.link_id))
        .where(_DEVICE.c.retired_at.is_(None), newest.c.ends_at <= now)
    )
    return int(session.execute(statement).scalar_one())
