"""Device rows held from here to the commit: the first step of the one order in which rows are locked
(`fleet_server.db`).

Invariant: whoever changes device rows holds all of them by one call of `hold` before any other row is locked, so that
two transactions that want the same devices wait for each other instead of ending in a deadlock.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ARRAY, Text, any_, bindparam, or_, select
from sqlmodel import Session

from fleet_server.devices.models import Device

_DEVICE = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_TEXTS = ARRAY(Text)
_NAMED = _DEVICE.c.id == any_(bindparam("ids", type_=_TEXTS))
_BEHIND = _DEVICE.c.link_id == any_(bindparam("links", type_=_TEXTS))
# Not against rows that merely refer to a device: those of a foreign key are written while it is held.
_HOLD = select(_DEVICE.c.id).order_by(_DEVICE.c.id).with_for_update(key_share=True)
_HOLD_NAMED = _HOLD.where(_NAMED)
_HOLD_ALL = _HOLD.where(or_(_NAMED, _BEHIND))
_HOLD_OURS = _HOLD.where(_NAMED, _DEVICE.c.tenant_id == bindparam("tenant_id"))


def hold(session: Session, device_ids: Collection[str], link_ids: Collection[str] = ()) -> None:
    """These devices, and all that speak through these links, in the order of their ids.

    On SQLite a transaction that writes holds everything already.
    """
    if not device_ids and not link_ids:
        return
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        return
    named = {"ids": sorted(device_ids)}
    if link_ids:
        connection.execute(_HOLD_ALL, {**named, "links": sorted(link_ids)})
    else:
        connection.execute(_HOLD_NAMED, named)


def hold_one(session: Session, tenant_id: str, device_id: str) -> None:
    """For a caller, who may name a device that is not his: that one stays free. On SQLite as above."""
    hold_ours(session, tenant_id, [device_id])


def hold_ours(session: Session, tenant_id: str, device_ids: Collection[str]) -> None:
    """Those of them that are the tenant's. On SQLite as above."""
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        connection.execute(_HOLD_OURS, {"ids": sorted(device_ids), "tenant_id": tenant_id})


def hold_all(session: Session) -> None:
    """Every device. On SQLite as above."""
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        connection.execute(_HOLD)
