"""Taking a device out of service: stolen, swapped, retired, or its key is in other hands. One deed, and for good.

The transaction of the deed refuses its data: a device that is retired is a stranger to ingest, which looks for new
retirements every two seconds. `fleet_server.enrollment.enforcing` does the rest: no new connection, no open session.
What hangs on the lines of a gateway goes with it. Ids are never given again: the same terminal comes back as another.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select as sa_select
from sqlalchemy import update
from sqlmodel import Session, col, select

from fleet_server.assignments.narrowing import assigned_devices
from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.models import Device
from fleet_server.enrollment.models import Enrolment, Retirement
from protocol.redaction import scrub

_DEVICE = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_ENROLMENT = Enrolment.__table__  # type: ignore[attr-defined]  # as above


class Reason(StrEnum):
    STOLEN = "stolen"
    SWAPPED = "swapped"
    RETIRED = "retired"
    COMPROMISED = "compromised"


class Retirements:
    def __init__(self, session: Session, actor: Actor, now: datetime) -> None:
        self._session = session
        self._actor = actor
        self._now = now

    def retire(self, device_id: str, reason: Reason, note: str = "") -> Retirement:
        """Asked again it answers what was done. Raises ``DeviceNotFound``."""
        done = self.find(device_id)
        if done is not None:
            return done
        device = self._device(device_id)
        going = [device]
        if device.link_id == device.id:
            going += [one for one in self._attached(device.id) if one.id != device.id]
        ids = sorted(one.id for one in going)
        ours = (_DEVICE.c.tenant_id == self._actor.tenant_id, _DEVICE.c.id.in_(ids))
        # Held in the order of their ids, as everybody does.
        self._session.execute(
            sa_select(_DEVICE.c.id).where(*ours).order_by(_DEVICE.c.id).with_for_update(key_share=True)
        )
        self._session.execute(update(_DEVICE).where(*ours).values(retired_at=self._now))
        row = Retirement(
            device_id=device.id,
            tenant_id=device.tenant_id,
            link_id=device.link_id,
            reason=reason.value,
            note=scrub(note).text[:300],
            retired_by=self._actor.name[:120],
            at=self._now,
            # An attached device has no identity of its own: refusing its data is all there is.
            enforced_at=None if device.link_id == device.id else self._now,
        )
        self._session.add(row)
        self._withdraw_codes([one.serial_number for one in going])
        data = {"reason": reason.value, "serial_number": device.serial_number}
        typed = {"note": row.note} if row.note else None
        record(self._session, self._actor, "device_retired", device.id, data, personal=typed, now=self._now)
        return row

    def find(self, device_id: str) -> Retirement | None:
        statement = select(Retirement).where(
            Retirement.device_id == device_id,
            Retirement.tenant_id == self._actor.tenant_id,
            *assigned_devices(self._session, col(Retirement.device_id)),
        )
        return self._session.exec(statement).one_or_none()

    def newest(self, limit: int) -> Sequence[Retirement]:
        statement = select(Retirement).where(Retirement.tenant_id == self._actor.tenant_id)
        return self._session.exec(statement.order_by(col(Retirement.at).desc()).limit(limit)).all()

    def _device(self, device_id: str) -> Device:
        statement = select(Device).where(
            Device.id == device_id, Device.tenant_id == self._actor.tenant_id, col(Device.retired_at).is_(None)
        )
        device = self._session.exec(statement).one_or_none()
        if device is None:
            raise DeviceNotFound(device_id)
        return device

    def _attached(self, link_id: str) -> Sequence[Device]:
        ours = Device.tenant_id == self._actor.tenant_id
        statement = select(Device).where(ours, Device.link_id == link_id, col(Device.retired_at).is_(None))
        return self._session.exec(statement.order_by(Device.id)).all()

    def _withdraw_codes(self, serial_numbers: Sequence[str]) -> None:
        statement = update(_ENROLMENT).where(
            _ENROLMENT.c.tenant_id == self._actor.tenant_id,
            _ENROLMENT.c.serial_number.in_(serial_numbers),
            _ENROLMENT.c.state.in_(("open", "pending", "approved")),
        )
        self._session.execute(statement.values(state="withdrawn"))
