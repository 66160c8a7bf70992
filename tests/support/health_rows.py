"""Newest values as ingest would leave them, for tests of what is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlmodel import Session

from fleet_server.health import latest
from fleet_server.health.latest import Entries, Entry, Value
from fleet_server.health.models import DeviceHealth


def put_newest(session: Session, tenant_id: str, device_id: str, values: Mapping[str, Value], at: datetime) -> None:
    session.flush()
    held = latest.hold(session, tenant_id, {device_id})
    for metric, value in values.items():
        held[device_id].entries[metric] = Entry(int(at.timestamp() * 1000), value)
        held[device_id].settle(metric, None)
    latest.save(session, tenant_id, held)


def newest_of(session: Session, device_id: str) -> Entries:
    found = session.execute(select(DeviceHealth.latest).where(DeviceHealth.device_id == device_id)).scalar()  # type: ignore[call-overload]  # SQLModel types columns as their values
    return {} if found is None else latest.read(found)
