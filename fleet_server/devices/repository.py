"""Every query on devices, their sites and what they declared. Made for one tenant, or for what of it is assigned to a
technician (`fleet_server.assignments.narrowing`); never commits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, update
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from fleet_server.assignments.narrowing import assigned_devices, is_narrowed
from fleet_server.devices.models import Capability, Device, HeardHour, Site

_LIKE_SPECIAL = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


_DEVICE = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_CAPABILITY = Capability.__table__  # type: ignore[attr-defined]  # as above
_LINK = _DEVICE.alias("link")
# Asked for every command: built once, for building costs more than asking.
_TARGET_COLUMNS: list[Any] = [_DEVICE.c.id, _LINK.c.id, _LINK.c.presence, _LINK.c.nonce, _CAPABILITY.c.digest]
_COMMAND_TARGET = (
    sa_select(*_TARGET_COLUMNS)
    .join_from(_DEVICE, _LINK, _LINK.c.id == _DEVICE.c.link_id)
    .outerjoin(_CAPABILITY, _CAPABILITY.c.device_id == _DEVICE.c.id)
    .where(
        _DEVICE.c.id == bindparam("device_id"),
        _DEVICE.c.tenant_id == bindparam("tenant_id"),
        _DEVICE.c.retired_at.is_(None),
    )
)
_NEXT_COUNTER = (
    update(_DEVICE)
    .where(_DEVICE.c.id == bindparam("device_id"), _DEVICE.c.tenant_id == bindparam("of_tenant"))
    .values(command_counter=_DEVICE.c.command_counter + 1)
    .returning(_DEVICE.c.command_counter)
)


@dataclass(frozen=True, slots=True)
class CommandTarget:
    """What must be known of a device to send it a command. ``nonce``: of its link's last hello."""

    device_id: str
    link_id: str
    is_link_online: bool
    nonce: str
    capability_digest: str | None


@dataclass(frozen=True, slots=True)
class DeviceFilters:
    """``fault``: a code that is open; handed in as the ids of the devices that have it. ``among``: queries for ids, all
    of which must find the device. An empty version is that of devices which never told one. ``contact`` and ``phones``:
    whole names and numbers of people, by which ``q`` finds too.
    """

    q: str = ""
    contact: str = ""
    phones: tuple[str, ...] = ()
    presence: str | None = None
    condition: str | None = None
    site: str | None = None
    kind: str | None = None
    model: str | None = None
    firmware: str | None = None
    agent: str | None = None
    device_ids: frozenset[str] | None = None
    among: tuple[Select[tuple[str]], ...] = ()


class DeviceRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def get(self, device_id: str) -> tuple[Device, Site] | None:
        statement = self._with_site().where(col(Device.id) == device_id)
        row = self._session.exec(statement).first()
        return None if row is None else (row[0], row[1])

    def exists(self, device_id: str) -> bool:
        statement = select(Device.id).where(
            col(Device.id) == device_id, col(Device.tenant_id) == self._tenant_id, *self._seen()
        )
        return self._session.exec(statement).first() is not None

    def worst_first(
        self, filters: DeviceFilters, after: tuple[int, str] | None, limit: int
    ) -> list[tuple[Device, Site]]:
        """At most ``limit``, those with the worst condition first."""
        statement = self._filtered(self._with_site(), filters)
        if after is not None:
            rank, device_id = after
            same = and_(col(Device.condition_rank) == rank, col(Device.id) > device_id)
            statement = statement.where(or_(col(Device.condition_rank) > rank, same))
        statement = statement.order_by(col(Device.condition_rank), col(Device.id)).limit(limit)
        return [(device, site) for device, site in self._session.exec(statement)]  # type: ignore[call-overload]  # a Select of two tables, as built here

    def numbers_after(self, site_id: str | None, after: str, limit: int) -> list[tuple[str, str]]:
        """Ids and serial numbers in the order of ids."""
        statement = select(Device.id, Device.serial_number).where(*self._present(site_id), col(Device.id) > after)
        return list(self._session.exec(statement.order_by(col(Device.id)).limit(limit)))

    def makes(self, filters: DeviceFilters) -> Select[tuple[str, str, str, str, str]]:
        """To be joined by whoever counts by make: id, model, firmware, version of the agent, class."""
        made: Select[Any] = sa_select(
            _DEVICE.c.id, _DEVICE.c.model, _DEVICE.c.firmware, _DEVICE.c.agent_version, _DEVICE.c.terminal_class
        ).where(_DEVICE.c.tenant_id == self._tenant_id, _DEVICE.c.retired_at.is_(None), *self._seen())
        return self._filtered(made, filters)

    def zones(self, filters: DeviceFilters) -> dict[str, int]:
        """How many stand in each time zone."""
        counted: Any = (
            sa_select(col(Site.timezone), func.count())
            .join_from(Device, Site, col(Site.id) == col(Device.site_id))
            .where(*self._present(None))
        )
        rows = self._session.execute(self._filtered(counted, filters).group_by(col(Site.timezone)))
        return {row[0]: row[1] for row in rows}

    def ids_in_zone(self, filters: DeviceFilters, zone: str, after: str, limit: int) -> list[str]:
        """In the order of ids."""
        found: Select[Any] = (
            sa_select(col(Device.id))
            .join_from(Device, Site, col(Site.id) == col(Device.site_id))
            .where(*self._present(None), col(Site.timezone) == zone, col(Device.id) > after)
        )
        return list(self._session.scalars(self._filtered(found, filters).order_by(col(Device.id)).limit(limit)))

    def known(self, ids: Collection[str]) -> set[str]:
        """Those of ``ids`` that are in service."""
        return set(self._session.exec(select(Device.id).where(*self._present(None), col(Device.id).in_(ids))))

    def count(self, site_id: str | None) -> int:
        return self._session.exec(select(func.count()).select_from(Device).where(*self._present(site_id))).one()

    def _present(self, site_id: str | None) -> list[ColumnElement[bool]]:
        ours = [col(Device.tenant_id) == self._tenant_id, col(Device.retired_at).is_(None), *self._seen()]
        return ours if site_id is None else [*ours, col(Device.site_id) == site_id]

    def attached_to(self, link_id: str) -> list[tuple[Device, Site]]:
        statement = self._with_site().where(col(Device.link_id) == link_id, col(Device.id) != link_id)
        rows = self._session.exec(statement.order_by(col(Device.line)))
        return [(device, site) for device, site in rows]

    def heard_since(self, device_ids: Collection[str], since: datetime) -> list[tuple[str, datetime]]:
        """The hours (UTC starts) in which each was heard."""
        statement = select(HeardHour.device_id, HeardHour.hour_at).where(
            col(HeardHour.device_id).in_(device_ids),
            col(HeardHour.tenant_id) == self._tenant_id,
            col(HeardHour.hour_at) >= since,
        )
        return list(self._session.exec(statement))

    def named(self, text: str, limit: int) -> list[tuple[Device, Site]]:
        """Devices one of whose numbers is exactly ``text`` (lower case), or whose serial number ends in it."""
        matches = [
            func.lower(Device.serial_number) == text,
            func.lower(Device.terminal_id) == text,
            func.lower(Site.merchant_id) == text,
            col(Device.id) == text,
        ]
        if len(text) == 6:
            matches.append(col(Device.serial_tail) == text)
        statement = self._with_site().where(or_(*matches)).order_by(col(Device.condition_rank), col(Device.id))
        return [(device, site) for device, site in self._session.exec(statement.limit(limit))]

    def one_of(self, column: str, values: Sequence[str], limit: int) -> list[tuple[Device, Site]]:
        """By one number only: ``serial``, ``serial_tail``, ``terminal``, ``merchant`` or ``phone``."""
        columns: dict[str, Any] = {
            "serial": func.lower(Device.serial_number),
            "serial_tail": col(Device.serial_tail),
            "terminal": func.lower(Device.terminal_id),
            "merchant": func.lower(Site.merchant_id),
        }
        if column == "phone":
            condition = or_(_undressed(Site.phone).in_(values), _undressed(Device.sim_phone).in_(values))
        else:
            condition = columns[column].in_(values)
        statement = self._with_site().where(condition).order_by(col(Device.condition_rank), col(Device.id))
        return [(device, site) for device, site in self._session.exec(statement.limit(limit))]

    def census(self, column: str) -> dict[str, int]:
        return _census(self._session, column, col(Device.tenant_id) == self._tenant_id, *self._seen())

    def capability_digest(self, device_id: str) -> str | None:
        statement = select(Capability.digest).where(
            col(Capability.device_id) == device_id, col(Capability.tenant_id) == self._tenant_id
        )
        return self._session.exec(statement).first()

    def capability_document(self, device_id: str) -> dict[str, Any] | None:
        statement = select(Capability.document).where(
            col(Capability.device_id) == device_id, col(Capability.tenant_id) == self._tenant_id
        )
        found = self._session.exec(statement).first()
        return None if found is None else dict(found)

    def command_target(self, device_id: str) -> CommandTarget | None:
        if is_narrowed(self._session) and not self.exists(device_id):
            return None
        named = {"device_id": device_id, "tenant_id": self._tenant_id}
        row = self._session.connection().execute(_COMMAND_TARGET, named).first()
        if row is None:
            return None
        return CommandTarget(row[0], row[1], is_link_online=row[2] == "online", nonce=row[3], capability_digest=row[4])

    def next_counter(self, device_id: str) -> int:
        """A command counter of the device that no other process has or gets."""
        named = {"device_id": device_id, "of_tenant": self._tenant_id}
        counter: int = self._session.connection().execute(_NEXT_COUNTER, named).scalar_one()
        return counter

    def _with_site(self) -> Any:
        return (
            select(Device, Site)
            .join(Site, col(Site.id) == col(Device.site_id))
            .where(col(Device.tenant_id) == self._tenant_id, col(Device.retired_at).is_(None), *self._seen())
        )

    def _seen(self) -> tuple[ColumnElement[bool], ...]:
        return assigned_devices(self._session, col(Device.id))

    def _asked(self, filters: DeviceFilters) -> ColumnElement[bool] | None:
        words = [f"%{word.translate(_LIKE_SPECIAL)}%" for word in filters.q.lower().split()[:8]]
        if not words:
            return None
        contained = and_(*(col(Device.search_text).like(pattern, escape="\\") for pattern in words))
        if not filters.contact:
            return contained
        at_site = func.lower(Site.contact_name) == filters.contact.lower()
        if filters.phones:
            at_site = or_(at_site, _undressed(Site.phone).in_(filters.phones))
        sites = select(Site.id).where(col(Site.tenant_id) == self._tenant_id, at_site)
        found = or_(contained, col(Device.site_id).in_(sites))
        return or_(found, _undressed(Device.sim_phone).in_(filters.phones)) if filters.phones else found

    def _filtered(self, statement: Select[Any], filters: DeviceFilters) -> Select[Any]:
        asked = self._asked(filters)
        if asked is not None:
            statement = statement.where(asked)
        equal: tuple[tuple[Any, str | None], ...] = (
            (Device.presence, filters.presence),
            (Device.condition, filters.condition),
            (Device.site_id, filters.site),
            (Device.kind, filters.kind),
            (Device.model, filters.model),
            (Device.firmware, filters.firmware),
            (Device.agent_version, filters.agent),
        )
        for column, value in equal:
            if value is not None:
                statement = statement.where(column == value)
        if filters.device_ids is not None:
            statement = statement.where(col(Device.id).in_(filters.device_ids))
        for ids in filters.among:
            statement = statement.where(col(Device.id).in_(ids))
        return statement


def census_of_all(session: Session, column: str) -> dict[str, int]:
    """Of all tenants together: counts that say nothing of any of them."""
    return _census(session, column)


def _census(session: Session, column: str, *whose: ColumnElement[bool]) -> dict[str, int]:
    counted = getattr(Device, column)
    statement = select(counted, func.count()).where(*whose, col(Device.retired_at).is_(None))
    return dict(session.exec(statement.group_by(counted)).all())


def _undressed(column: Any) -> Any:
    """A telephone number without what people put between its digits."""
    for between in " -()./":
        column = func.replace(column, between, "")
    return column
