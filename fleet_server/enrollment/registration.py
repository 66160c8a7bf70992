"""Sites and devices of a fleet file become rows. A key keeps its row for ever: importing again updates what may change.

Invariant: an id is made once and never reused, and stays bound to the serial number it was made for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Table, bindparam, update
from sqlmodel import Session

from fleet_server.devices.asking import search_text
from fleet_server.devices.models import Device, Site
from fleet_server.enrollment.errors import FleetFileInvalid
from fleet_server.enrollment.fleet_file import DeviceEntry, DeviceKind, FleetFile, Named, SiteEntry
from fleet_server.enrollment.models import Enrolment, FleetKey
from fleet_server.enrollment.repository import DEVICE_KEYS, SITE_KEYS, EnrollmentRepository
from fleet_server.kit import bulk
from fleet_server.kit.identifiers import device_id, uuid7
from protocol.catalogue.vocabulary import TerminalClass

_TAIL_CHARS = 6
# Entries that are looked up and written together.
_PIECE = 2000
_SITE: Table = Site.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_DEVICE: Table = Device.__table__  # type: ignore[attr-defined]  # as above
# Of a site: whom to call there.
CONTACT = ("contact_name", "phone", "address")
_KEY: Table = FleetKey.__table__  # type: ignore[attr-defined]  # as above

EntryT = TypeVar("EntryT", SiteEntry, DeviceEntry)


@dataclass(frozen=True, slots=True)
class Registered:
    """How many rows are new; the rest was there."""

    sites: int
    devices: int


class Registration:
    def __init__(self, session: Session, tenant_id: str, now: datetime) -> None:
        self._session = session
        self._repository = EnrollmentRepository(session, tenant_id)
        self._tenant_id = tenant_id
        self._now = now
        self._new: Counter[str] = Counter()

    def import_fleet(self, fleet: FleetFile) -> Registered:
        """In pieces, set-based: of hundreds of thousands only one piece is held as rows."""
        self._refuse_moved_serials(fleet.devices)
        sites = {entry.key: entry for entry in fleet.sites}
        site_ids = self._put(SITE_KEYS, _SITE, fleet.sites, self._site_values)

        def device_values(id_: str, entry: DeviceEntry, _row: Mapping[str, Any] | None) -> dict[str, Any]:
            link_id = links[entry.attached_to] if entry.attached_to else id_
            return _device_values(id_, link_id, site_ids[entry.site], entry, sites[entry.site])

        links: dict[str, str] = {}
        # Links first: an attached device carries its gateway's id.
        links = self._put(DEVICE_KEYS, _DEVICE, _of_kind(fleet, is_attached=False), device_values)
        self._put(DEVICE_KEYS, _DEVICE, _of_kind(fleet, is_attached=True), device_values)
        return Registered(self._new[SITE_KEYS], self._new[DEVICE_KEYS])

    def _put(
        self,
        kind: str,
        table: Table,
        entries: Sequence[EntryT],
        values_of: Callable[[str, EntryT, Mapping[str, Any] | None], dict[str, Any]],
    ) -> dict[str, str]:
        """Writes what is new or has changed; the ids by key. ``values_of`` is given the row that is there, or None."""
        ids = self._repository.ids_by_key(kind)
        for begin in range(0, len(entries), _PIECE):
            piece = entries[begin : begin + _PIECE]
            known = self._repository.find_rows(table, [ids[entry.key] for entry in piece if entry.key in ids])
            new, changed, keys = [], [], []
            for entry in piece:
                if entry.key not in ids:
                    ids[entry.key] = id_ = self._new_id(kind)
                    new.append({"id": id_, **values_of(id_, entry, None)})
                    keys.append({"tenant_id": self._tenant_id, "kind": kind, "key": entry.key, "row_id": id_})
                    continue
                row = known[ids[entry.key]]
                values = values_of(row["id"], entry, row)
                if any(row[name] != value for name, value in values.items()):
                    changed.append({"of_id": row["id"], **values})
            self._write(kind, table, new, changed)
            bulk.write(self._session, _KEY, keys)
        return ids

    def _site_values(self, _id: str, entry: SiteEntry, row: Mapping[str, Any] | None) -> dict[str, Any]:
        """Whom to call may have been said at the desk since: what the file leaves out stays."""
        values, before = _site_values(entry), row or dict.fromkeys((*CONTACT, "contact_at"))
        contact = {name: getattr(entry, name) or before[name] or "" for name in CONTACT}
        is_new = any(contact[name] != (before[name] or "") for name in CONTACT)
        return {**values, **contact, "contact_at": self._now if is_new else before["contact_at"]}

    def _write(self, kind: str, table: Table, new: list[dict[str, Any]], changed: list[dict[str, Any]]) -> None:
        self._new[kind] += len(new)
        blank = {"tenant_id": self._tenant_id} | (_blank_device(self._now) if kind == DEVICE_KEYS else {})
        bulk.write(self._session, table, [blank | row for row in new])
        if changed:
            self._session.connection().execute(update(table).where(table.c.id == bindparam("of_id")), changed)

    def _new_id(self, kind: str) -> str:
        return device_id() if kind == DEVICE_KEYS else uuid7(self._now)

    def _refuse_moved_serials(self, entries: Sequence[DeviceEntry]) -> None:
        ids = self._repository.ids_by_key(DEVICE_KEYS)
        serials, taken = {}, set()
        for id_, serial, is_in_service in self._repository.serials():
            serials[id_] = serial
            if is_in_service:
                taken.add(serial)
        for entry in entries:
            enrolled = serials.get(ids.get(entry.key, ""))
            if enrolled is None and entry.serial_number in taken:
                raise FleetFileInvalid(f"serial number {entry.serial_number} is enrolled already under another key")
            if enrolled is not None and enrolled != entry.serial_number:
                raise FleetFileInvalid(
                    f"device {entry.key} is enrolled with serial number {enrolled}, the fleet file says "
                    f"{entry.serial_number}: another device needs a key of its own"
                )


def register_device(session: Session, wanted: Enrolment, site: Site, now: datetime) -> Device:
    """A device that enrolled itself, under the id that was made with its code."""
    entry = DeviceEntry(
        key=wanted.device_id,
        site=site.id,
        kind=DeviceKind.TERMINAL,
        serial_number=wanted.serial_number,
        model=wanted.model,
        terminal_class=next(one for one in TerminalClass if one.value == wanted.terminal_class),
        label=Named(wanted.label_zh, wanted.label_en),
    )
    place = SiteEntry(
        key=site.id,
        merchant_id=site.merchant_id,
        merchant_name=Named(site.merchant_name_zh, site.merchant_name_en),
        site_name=Named(site.name_zh, site.name_en),
        timezone=site.timezone,
    )
    values = _device_values(wanted.device_id, wanted.device_id, site.id, entry, place)
    device = Device(id=wanted.device_id, tenant_id=wanted.tenant_id, enrolled_at=now, **values)
    session.add(device)
    session.flush()
    return device


def _of_kind(fleet: FleetFile, *, is_attached: bool) -> list[DeviceEntry]:
    return [entry for entry in fleet.devices if (entry.kind is DeviceKind.ATTACHED) is is_attached]


def _blank_device(now: datetime) -> dict[str, Any]:
    """What a device begins with beside what the file says of it."""
    blank = Device(
        id="",
        tenant_id="",
        link_id="",
        kind="",
        site_id="",
        serial_number="",
        serial_tail="",
        model="",
        terminal_class="",
        label_zh="",
        label_en="",
        enrolled_at=now,
    )
    return blank.model_dump(exclude={"id", "tenant_id"})


def _site_values(entry: SiteEntry) -> dict[str, Any]:
    return {
        "merchant_id": entry.merchant_id,
        "merchant_name_zh": entry.merchant_name.zh,
        "merchant_name_en": entry.merchant_name.en,
        "name_zh": entry.site_name.zh,
        "name_en": entry.site_name.en,
        "city_zh": entry.city.zh,
        "city_en": entry.city.en,
        "timezone": entry.timezone,
        "trading_hours": [list(span) for span in entry.trading_hours] if entry.trading_hours is not None else None,
    }


def _device_values(id_: str, link_id: str, site_id: str, entry: DeviceEntry, site: SiteEntry) -> dict[str, Any]:
    words = (
        entry.serial_number,
        entry.terminal_id,
        site.merchant_id,
        site.merchant_name.zh,
        site.merchant_name.en,
        site.site_name.zh,
        site.site_name.en,
        entry.label.zh,
        entry.label.en,
        id_,
        entry.model,
    )
    return {
        "link_id": link_id,
        "kind": entry.kind.value,
        "line": entry.line,
        "site_id": site_id,
        "serial_number": entry.serial_number,
        "serial_tail": entry.serial_number[-_TAIL_CHARS:].lower(),
        "terminal_id": entry.terminal_id,
        "model": entry.model,
        "terminal_class": entry.terminal_class.value,
        "label_zh": entry.label.zh,
        "label_en": entry.label.en,
        "sim_phone": entry.sim_phone,
        "search_text": search_text(words),
    }
