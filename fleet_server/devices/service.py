"""Reading devices for people and programs: lists, search, what a device can do, how many are how.

What moves presence, condition and capabilities comes through the device door (`fleet_server.devices.apply`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock

import msgspec
from sqlalchemy import Select

from fleet_server.devices.asking import looks_like_a_phone, phone_digits, phone_forms
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.models import Device, Site
from fleet_server.devices.repository import CommandTarget, DeviceFilters, DeviceRepository
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.sites.shown import Sight, SiteShown, masked_phone, site_shown
from protocol.capabilities import Action, DeviceCapabilities

MAX_FOUND = 50
_CAPABILITIES_KEPT = 1024


@dataclass(frozen=True, slots=True)
class DeviceAtSite:
    """``site`` and ``sim_phone`` as the caller may see them; of ``device`` its own ``sim_phone`` is not to be shown."""

    device: Device
    site: SiteShown
    sim_phone: str


@dataclass(frozen=True, slots=True)
class Census:
    presence: dict[str, int]
    condition: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.presence.values())


class CapabilityCache:
    """Parsed documents by device and digest, shared by all requests of a process. Holds at most 1,024."""

    def __init__(self) -> None:
        self._parsed: OrderedDict[tuple[str, str], DeviceCapabilities] = OrderedDict()
        self._lock = Lock()

    def get(self, device_id: str, digest: str) -> DeviceCapabilities | None:
        with self._lock:
            found = self._parsed.get((device_id, digest))
            if found is not None:
                self._parsed.move_to_end((device_id, digest))
            return found

    def put(self, device_id: str, digest: str, parsed: DeviceCapabilities) -> None:
        with self._lock:
            self._parsed[(device_id, digest)] = parsed
            if len(self._parsed) > _CAPABILITIES_KEPT:
                self._parsed.popitem(last=False)


class DeviceService:
    def __init__(
        self, devices: DeviceRepository, cache: CapabilityCache | None = None, sight: Sight = Sight.MASKED
    ) -> None:
        self._devices = devices
        self._cache = cache or CapabilityCache()
        self._sight = sight

    def get(self, device_id: str) -> DeviceAtSite:
        found = self._devices.get(device_id)
        if found is None:
            raise DeviceNotFound(device_id)
        return self._shown(*found)

    def require(self, device_id: str) -> None:
        if not self._devices.exists(device_id):
            raise DeviceNotFound(device_id)

    def list(self, filters: DeviceFilters, cursor: str | None, limit: int) -> Page[DeviceAtSite]:
        after = None if cursor is None else _after(cursor)
        rows = self._devices.worst_first(self._with_people(filters), after, limit + 1)
        more = len(rows) > limit
        items = [self._shown(*row) for row in rows[:limit]]
        last = items[-1].device if more else None
        return Page(items, None if last is None else encode_cursor(last.condition_rank, last.id))

    def numbers_after(self, site_id: str | None, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """Ids and serial numbers of all, or of a site's, in the order of ids."""
        return self._devices.numbers_after(site_id, after, limit)

    def count(self, site_id: str | None) -> int:
        return self._devices.count(site_id)

    def zones(self, filters: DeviceFilters) -> dict[str, int]:
        """How many stand in each time zone."""
        return self._devices.zones(filters)

    def ids_in_zone(self, filters: DeviceFilters, zone: str, after: str, limit: int) -> Sequence[str]:
        """In the order of ids, those after ``after``."""
        return self._devices.ids_in_zone(filters, zone, after, limit)

    def known(self, ids: Collection[str]) -> set[str]:
        """Those of ``ids`` that are in service."""
        return self._devices.known(ids)

    def makes(self, filters: DeviceFilters) -> Select[tuple[str, str, str, str, str]]:
        """A query for id, model, firmware, version of the agent and class."""
        return self._devices.makes(filters)

    def attached_to(self, link_id: str) -> Sequence[DeviceAtSite]:
        return [self._shown(*row) for row in self._devices.attached_to(link_id)]

    def heard_since(self, device_ids: Collection[str], since: datetime) -> dict[str, set[datetime]]:
        """For the habit strip: the hours in which each was heard, nothing for those that were not."""
        heard: dict[str, set[datetime]] = {}
        for device_id, hour_at in self._devices.heard_since(device_ids, since):
            heard.setdefault(device_id, set()).add(hour_at)
        return heard

    def find(self, query: str) -> Sequence[DeviceAtSite]:
        """By any number or name it may be asked for by: exact hits first, then what contains all the words. By people,
        their names and numbers, only for those who may see them.
        """
        text = query.strip().lower()[:200]
        if not text:
            return []
        exact = self._devices.named(text, MAX_FOUND)
        containing = self._devices.worst_first(self._with_people(DeviceFilters(q=text)), None, MAX_FOUND)
        found = {device.id: self._shown(device, site) for device, site in [*exact, *containing]}
        return list(found.values())[:MAX_FOUND]

    def look_up(self, *, phone: str = "", sn: str = "", tid: str = "", mid: str = "") -> tuple[DeviceAtSite, ...]:
        """What a telephone system knows, surest first: serial number, terminal id, phone, merchant id."""
        asked = [
            ("serial", [sn.strip().lower()]),
            ("serial_tail", [sn.strip().lower()]),
            ("terminal", [tid.strip().lower()]),
            ("phone", phone_forms(phone_digits(phone)) if self._sight is Sight.PLAIN else []),
            ("merchant", [mid.strip().lower()]),
        ]
        for column, values in asked:
            wanted = [value for value in values if value]
            rows = self._devices.one_of(column, wanted, MAX_FOUND) if wanted else []
            if rows:
                return tuple(self._shown(*row) for row in rows)
        return ()

    def census(self) -> Census:
        return Census(self._devices.census("presence"), self._devices.census("condition"))

    def capabilities(self, device_id: str) -> DeviceCapabilities | None:
        """What the device last declared, or None when it never did."""
        digest = self._devices.capability_digest(device_id)
        return None if digest is None else self._parsed(device_id, digest)

    def command_target(self, device_id: str) -> CommandTarget:
        target = self._devices.command_target(device_id)
        if target is None:
            raise DeviceNotFound(device_id)
        return target

    def declared_action(self, target: CommandTarget, name: str) -> Action | None:
        return next((action for action in self.declared_actions(target) if action.name == name), None)

    def declared_actions(self, target: CommandTarget) -> Sequence[Action]:
        digest = target.capability_digest
        declared = None if digest is None else self._parsed(target.device_id, digest)
        return () if declared is None else declared.actions

    def next_counter(self, device_id: str) -> int:
        return self._devices.next_counter(device_id)

    def _shown(self, device: Device, site: Site) -> DeviceAtSite:
        number = device.sim_phone or ""
        sim_phone = number if self._sight is Sight.PLAIN else masked_phone(number)
        return DeviceAtSite(device, site_shown(site, self._sight), sim_phone)

    def _with_people(self, filters: DeviceFilters) -> DeviceFilters:
        if self._sight is not Sight.PLAIN or not filters.q.strip():
            return filters
        digits = phone_digits(filters.q) if looks_like_a_phone(filters.q) else ""
        return replace(filters, contact=filters.q.strip(), phones=tuple(phone_forms(digits)))

    def _parsed(self, device_id: str, digest: str) -> DeviceCapabilities | None:
        found = self._cache.get(device_id, digest)
        if found is None:
            document = self._devices.capability_document(device_id)
            if document is None:
                return None
            found = msgspec.convert(document, DeviceCapabilities)
            self._cache.put(device_id, digest, found)
        return found


def _after(cursor: str) -> tuple[int, str]:
    rank, device_id = decode_cursor(cursor, 2)
    if not isinstance(rank, int) or not isinstance(device_id, str):
        raise CursorInvalid("cursor is not one of the list of devices")
    return rank, device_id
