"""Sites for people and programs: read as the caller may see them, written, opened, and devices moved between them.

Whatever is written leaves an entry in the audit that names fields and never their values. Opening what is masked is a
deed of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.models import Site
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.sites.errors import SiteInvalid, SiteNotFound
from fleet_server.sites.repository import SiteRepository
from fleet_server.sites.shown import Sight, SiteShown, sight_of, site_shown
from fleet_server.sites.values import CONTACT, NEEDED, checked

_PIECE = 500
_NAMES = ("merchant_id", "merchant_name_zh", "merchant_name_en", "name_zh", "name_en")


class SiteService:
    def __init__(self, session: Session, actor: Actor, now: datetime) -> None:
        self._session = session
        self._actor = actor
        self._now = now
        self._sites = SiteRepository(session, actor.tenant_id)
        self._sight = sight_of(actor)

    def get(self, site_id: str) -> SiteShown:
        return site_shown(self._found(self._sites.get(site_id), site_id), self._sight)

    def page(self, q: str, cursor: str | None, limit: int) -> Page[SiteShown]:
        after = decode_cursor(cursor, 1)[0] if cursor else ""
        if not isinstance(after, str):
            raise CursorInvalid("cursor is not one of the list of sites")
        rows = self._sites.page(q, after, limit + 1)
        shown = [site_shown(row, self._sight) for row in rows[:limit]]
        return Page(shown, encode_cursor(shown[-1].id) if len(rows) > limit else None)

    def open(self, site_id: str) -> SiteShown:
        """Whom to call there, in full, for somebody who sees it masked; written down before it is shown."""
        site = self._found(self._sites.get(site_id), site_id)
        record(self._session, self._actor, "personal_opened", site.id, now=self._now)
        return site_shown(site, Sight.PLAIN)

    def add(self, given: Mapping[str, str]) -> SiteShown:
        site = self._add(given, "")
        record(self._session, self._actor, "site_added", site.id, now=self._now)
        return site_shown(site, self._sight)

    def _add(self, given: Mapping[str, str], place: str) -> Site:
        values = checked(given, place)
        missing = [name for name in NEEDED if name not in values]
        if missing:
            raise SiteInvalid(f"{place}{missing[0]}: expected a value")
        contact_at = self._now if any(values.get(name) for name in CONTACT) else None
        site = Site(id=uuid7(self._now), tenant_id=self._actor.tenant_id, contact_at=contact_at, **values)
        self._sites.add(site)
        return site

    def change(self, site_id: str, given: Mapping[str, str]) -> SiteShown:
        """What is not given stays as it is."""
        self._sites.hold_devices([site_id])
        site, fields = self._change(site_id, given, "")
        if fields:
            record(self._session, self._actor, "site_changed", site.id, {"fields": fields}, now=self._now)
        return site_shown(site, self._sight)

    def _change(self, site_id: str, given: Mapping[str, str], place: str) -> tuple[Site, list[str]]:
        """The devices that stand there are held. Which fields are others than before."""
        values = checked(given, place)
        site = self._found(self._sites.lock(site_id), site_id)
        changed: dict[str, Any] = {name: value for name, value in values.items() if getattr(site, name) != value}
        fields = sorted(changed)
        if any(name in changed for name in CONTACT):
            changed["contact_at"] = self._now
        if changed:
            self._sites.change(site, changed)
        if any(name in changed for name in _NAMES):
            self._sites.name_devices_anew(site)
        return site, fields

    def move(self, device_id: str, site_id: str) -> SiteShown:
        """A device stands at another site from now on."""
        device = self._sites.device(device_id)
        if device is None:
            raise DeviceNotFound(device_id)
        site = self._found(self._sites.get(site_id), site_id)
        data = {"from": device.site_id, "to": site.id}
        self._sites.move(device, site)
        record(self._session, self._actor, "device_moved", device.id, data, now=self._now)
        return site_shown(site, self._sight)

    def take_in(self, lines: Sequence[tuple[str, Mapping[str, str]]]) -> tuple[int, int]:
        """Of a file, all or none: how many are new and how many not as before. A line with an id is of that site."""
        added = changed = 0
        self._sites.hold_devices([site_id for site_id, _ in lines if site_id])
        # In the order of ids, in which whoever changes several locks them.
        for number, (site_id, values) in sorted(enumerate(lines, start=2), key=lambda one: one[1][0]):
            if site_id:
                changed += bool(self._change(site_id, values, f"line {number}: ")[1])
            else:
                self._add(values, f"line {number}: ")
                added += 1
        record(self._session, self._actor, "sites_imported", data={"added": added, "changed": changed}, now=self._now)
        return added, changed

    def all(self) -> Iterator[SiteShown]:
        """For a file, which is written down: who may not see people gets them masked there too."""
        data = {"masked": self._sight is Sight.MASKED}
        record(self._session, self._actor, "sites_exported", data=data, now=self._now)
        rows: Sequence[Site] = self._sites.page("", "", _PIECE)
        while rows:
            yield from (site_shown(row, self._sight) for row in rows)
            self._session.expunge_all()
            rows = self._sites.page("", rows[-1].id, _PIECE)

    @staticmethod
    def _found(site: Site | None, site_id: str) -> Site:
        if site is None:
            raise SiteNotFound(site_id)
        return site
