"""What a technician's transaction sees: for repositories, which put it into their queries.

An assignment of a site reaches all that stands there now. One of a device reaches that device, what is attached to it,
and the gateway that it speaks through.

Invariant: for whoever does not work by assignments nothing is added to any query. On PostgreSQL the same is held by
row-level security (`fleet_server.row_security`), whatever a query forgets.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, select, union
from sqlmodel import Session

from fleet_server.assignments.models import Assignment
from fleet_server.db import reach_of
from fleet_server.devices.models import Device
from fleet_server.kit.reach import Reach
from fleet_server.kit.times import utc_now

_ASSIGNMENT = Assignment.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_DEVICE = Device.__table__  # type: ignore[attr-defined]  # as above


def is_narrowed(session: Session) -> bool:
    """Whether whoever it is opened for works by assignments."""
    return _assignee_of(session) is not None


def assigned_devices(session: Session, device_id: Any) -> tuple[ColumnElement[bool], ...]:
    """``device_id``: the column of a query that must be one of what is assigned. Nothing for whoever sees all."""
    reach = _assignee_of(session)
    return () if reach is None else (device_id.in_(_devices(reach, utc_now())),)


def assigned_ids(session: Session) -> list[str]:
    """Of whoever works by assignments: the devices."""
    reach = _assignee_of(session)
    return [] if reach is None else list(session.execute(_devices(reach, utc_now())).scalars())


def assigned_sites(session: Session, site_id: Any) -> tuple[ColumnElement[bool], ...]:
    """Where something stands that is assigned, and sites that are."""
    reach = _assignee_of(session)
    if reach is None:
        return ()
    now = utc_now()
    standing = select(_DEVICE.c.site_id).where(
        _DEVICE.c.tenant_id == reach.tenant_id, _DEVICE.c.id.in_(_devices(reach, now))
    )
    return (site_id.in_(union(standing, _assigned(reach, now, _ASSIGNMENT.c.site_id))),)


def _assignee_of(session: Session) -> Reach | None:
    reach = reach_of(session.get_bind())
    return None if reach is None or reach.assignee is None else reach


def _devices(reach: Reach, now: datetime) -> CompoundSelect[Any]:
    """As a union, so that each part goes by an index of its own."""
    named = _assigned(reach, now, _ASSIGNMENT.c.device_id)
    ours = _DEVICE.c.tenant_id == reach.tenant_id
    return union(
        named,
        select(_DEVICE.c.id).where(ours, _DEVICE.c.link_id.in_(named)),
        select(_DEVICE.c.link_id).where(ours, _DEVICE.c.id.in_(named)),
        select(_DEVICE.c.id).where(ours, _DEVICE.c.site_id.in_(_assigned(reach, now, _ASSIGNMENT.c.site_id))),
    )


def _assigned(reach: Reach, now: datetime, column: Any) -> Select[Any]:
    return select(column).where(
        _ASSIGNMENT.c.tenant_id == reach.tenant_id,
        _ASSIGNMENT.c.assignee_id == reach.assignee,
        _ASSIGNMENT.c.begins_at <= now,
        _ASSIGNMENT.c.ends_at > now,
        column.is_not(None),
    )
