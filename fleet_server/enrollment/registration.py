"""Sites and devices of a fleet file become rows. A key keeps its row for ever: importing again updates what may change.

Invariant: an id is made once and never reused, and stays bound to the serial number it was made for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from fleet_server.devices.models import Device, Site
from fleet_server.enrollment.errors import FleetFileInvalid
from fleet_server.enrollment.fleet_file import DeviceEntry, DeviceKind, FleetFile, SiteEntry
from fleet_server.enrollment.models import FleetKey, Tenant
from fleet_server.enrollment.repository import EnrollmentRepository
from fleet_server.kit.identifiers import device_id, uuid7

_TAIL_CHARS = 6
_MAX_SEARCH_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Registered:
    """How many rows are new; the rest was there."""

    sites: int
    devices: int


class Registration:
    def __init__(self, session: Session, tenant_id: str, now: datetime) -> None:
        self._repository = EnrollmentRepository(session, tenant_id)
        self._tenant_id = tenant_id
        self._now = now

    def ensure_tenant(self) -> None:
        if self._repository.find_tenant() is None:
            self._repository.add(Tenant(id=self._tenant_id, name=self._tenant_id, created_at=self._now))
            self._repository.flush()

    def import_fleet(self, fleet: FleetFile) -> Registered:
        sites, devices = self._repository.sites_by_key(), self._repository.devices_by_key()
        before = Registered(len(sites), len(devices))
        self._refuse_moved_serials(fleet, devices)
        for entry in fleet.sites:
            sites[entry.key] = self._put_site(entry, sites.get(entry.key))
        self._repository.flush()
        # Links first: an attached device carries its gateway's id.
        for device in sorted(fleet.devices, key=lambda one: one.kind is DeviceKind.ATTACHED):
            link_id = devices[device.attached_to].id if device.attached_to else None
            devices[device.key] = self._put_device(device, sites[device.site], link_id, devices.get(device.key))
        self._repository.flush()
        return Registered(len(sites) - before.sites, len(devices) - before.devices)

    def _refuse_moved_serials(self, fleet: FleetFile, known: dict[str, Device]) -> None:
        for entry in fleet.devices:
            row = known.get(entry.key)
            if row is not None and row.serial_number != entry.serial_number:
                raise FleetFileInvalid(
                    f"device {entry.key} is enrolled with serial number {row.serial_number}, the fleet file says "
                    f"{entry.serial_number}: another device needs a key of its own"
                )
        new = [entry.serial_number for entry in fleet.devices if entry.key not in known]
        for row in self._repository.find_by_serials(new):
            raise FleetFileInvalid(f"serial number {row.serial_number} is enrolled already under another key")

    def _put_site(self, entry: SiteEntry, row: Site | None) -> Site:
        values: dict[str, Any] = {
            "merchant_id": entry.merchant_id,
            "merchant_name_zh": entry.merchant_name.zh,
            "merchant_name_en": entry.merchant_name.en,
            "name_zh": entry.site_name.zh,
            "name_en": entry.site_name.en,
            "city_zh": entry.city.zh,
            "city_en": entry.city.en,
            "phone": entry.phone,
            "timezone": entry.timezone,
            "trading_hours": [list(span) for span in entry.trading_hours] if entry.trading_hours is not None else None,
        }
        if row is None:
            row = Site(id=uuid7(self._now), tenant_id=self._tenant_id, **values)
            self._add_with_key(row, "site", entry.key)
        else:
            _update(row, values)
        return row

    def _put_device(self, entry: DeviceEntry, site: Site, link_id: str | None, row: Device | None) -> Device:
        new_id = row.id if row else device_id()
        values: dict[str, Any] = {
            "link_id": link_id or new_id,
            "kind": entry.kind.value,
            "line": entry.line,
            "site_id": site.id,
            "serial_number": entry.serial_number,
            "serial_tail": entry.serial_number[-_TAIL_CHARS:].lower(),
            "terminal_id": entry.terminal_id,
            "model": entry.model,
            "terminal_class": entry.terminal_class.value,
            "label_zh": entry.label.zh,
            "label_en": entry.label.en,
            "sim_phone": entry.sim_phone,
            "search_text": _search_text(new_id, entry, site),
        }
        if row is None:
            row = Device(id=new_id, tenant_id=self._tenant_id, enrolled_at=self._now, **values)
            self._add_with_key(row, "device", entry.key)
        else:
            _update(row, values)
        return row

    def _add_with_key(self, row: Site | Device, kind: str, key: str) -> None:
        self._repository.add(row)
        self._repository.add(FleetKey(tenant_id=self._tenant_id, kind=kind, key=key, row_id=row.id))


def _update(row: Site | Device, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if getattr(row, name) != value:
            setattr(row, name, value)


def _search_text(new_id: str, entry: DeviceEntry, site: Site) -> str:
    words = [
        entry.serial_number,
        entry.terminal_id,
        site.merchant_id,
        site.merchant_name_zh,
        site.merchant_name_en,
        site.phone,
        entry.sim_phone,
        site.name_zh,
        site.name_en,
        entry.label.zh,
        entry.label.en,
        new_id,
        entry.model,
    ]
    return "\n".join(dict.fromkeys(word.lower() for word in words if word))[:_MAX_SEARCH_CHARS]
