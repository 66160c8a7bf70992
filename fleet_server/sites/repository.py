"""Questions to the table of sites, and what is changed in it. Made for one tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, or_, update
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import Session, col, select

from fleet_server.assignments.narrowing import assigned_sites
from fleet_server.devices.asking import search_text_of
from fleet_server.devices.holding import hold_ours
from fleet_server.devices.models import Device, Site

_SITE = Site.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_DEVICE = Device.__table__  # type: ignore[attr-defined]  # as above
_LIKE_SPECIAL = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


class SiteRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def get(self, site_id: str) -> Site | None:
        statement = select(Site).where(Site.id == site_id, Site.tenant_id == self._tenant_id, *self._seen())
        return self._session.exec(statement).first()

    def lock(self, site_id: str) -> Site | None:
        statement = select(Site).where(Site.id == site_id, Site.tenant_id == self._tenant_id)
        return self._session.exec(statement.with_for_update()).first()

    def page(self, q: str, after: str, limit: int) -> Sequence[Site]:
        """In the order of ids. ``q``: a merchant id, or words of what stands over the door."""
        statement = select(Site).where(Site.tenant_id == self._tenant_id, col(Site.id) > after, *self._seen())
        for word in q.lower().split()[:8]:
            pattern = f"%{word.translate(_LIKE_SPECIAL)}%"
            named = (Site.merchant_id, Site.merchant_name_zh, Site.merchant_name_en, Site.name_zh, Site.name_en)
            statement = statement.where(or_(*(func.lower(one).like(pattern, escape="\\") for one in named)))
        return self._session.exec(statement.order_by(col(Site.id)).limit(limit)).all()

    def _seen(self) -> tuple[ColumnElement[bool], ...]:
        return assigned_sites(self._session, col(Site.id))

    def add(self, site: Site) -> None:
        self._session.add(site)
        self._session.flush()

    def change(self, site: Site, values: Mapping[str, Any]) -> None:
        mine = (_SITE.c.id == site.id, _SITE.c.tenant_id == self._tenant_id)
        self._session.execute(update(_SITE).where(*mine).values(**values))
        for name, value in values.items():
            # As if it had been read like this: there is nothing left to write.
            set_committed_value(site, name, value)

    def hold_devices(self, site_ids: Sequence[str]) -> None:
        """All that stand there, before any row of a site is changed: the one order of locks."""
        standing = select(Device.id).where(Device.tenant_id == self._tenant_id, col(Device.site_id).in_(site_ids))
        hold_ours(self._session, self._tenant_id, self._session.exec(standing).all())

    def name_devices_anew(self, site: Site) -> None:
        """What the site is called is a part of what its devices are found by."""
        found = select(Device).where(Device.tenant_id == self._tenant_id, Device.site_id == site.id)
        for device in self._session.exec(found.order_by(col(Device.id)).execution_options(yield_per=500)):
            self._set(device.id, search_text=search_text_of(device, site))

    def move(self, device: Device, site: Site) -> None:
        self._set(device.id, site_id=site.id, search_text=search_text_of(device, site))

    def device(self, device_id: str) -> Device | None:
        hold_ours(self._session, self._tenant_id, [device_id])
        mine = (Device.id == device_id, Device.tenant_id == self._tenant_id, col(Device.retired_at).is_(None))
        return self._session.exec(select(Device).where(*mine)).first()

    def _set(self, device_id: str, **values: str) -> None:
        mine = (_DEVICE.c.id == device_id, _DEVICE.c.tenant_id == self._tenant_id)
        self._session.execute(update(_DEVICE).where(*mine).values(**values))
