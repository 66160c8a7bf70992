"""Rows of the page of assignments, and what its form gives to a technician."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from fleet_server.assignments.service import Assigned
from fleet_server.console.moments import Calendar, Moment, zone_of
from fleet_server.console.view_models.fleet import place_name
from fleet_server.devices.service import DeviceAtSite
from fleet_server.sites.shown import SiteShown


@dataclass(frozen=True, slots=True)
class Target:
    """A device, or all that stands at a site."""

    field: str  # of the form: device or site
    id: str
    name: str
    href: str
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class AssignedRow:
    id: str
    technician: str
    name: str
    href: str  # empty for what is out of service
    is_site: bool
    begins: Moment | None
    ends: Moment | None
    has_begun: bool
    by: str


def device_target(found: DeviceAtSite, calendar: Calendar) -> Target:
    device = found.device
    name = f"{place_name(device, found.site, calendar)} · {device.terminal_id or device.serial_number}"
    return Target("device", device.id, name, f"/devices/{device.id}", zone_of(found.site.timezone))


def site_target(site: SiteShown, calendar: Calendar) -> Target:
    pick = calendar.language.pick
    name = f"{pick(site.merchant_name_zh, site.merchant_name_en)} · {pick(site.name_zh, site.name_en)}"
    return Target("site", site.id, name, f"/sites/{site.id}", zone_of(site.timezone))


def assigned_row(one: Assigned, targets: Mapping[str, Target], calendar: Calendar) -> AssignedRow:
    row = one.row
    of = row.device_id or row.site_id or ""
    target = targets.get(of)
    return AssignedRow(
        id=row.id,
        technician=one.assignee,
        name=of if target is None else target.name,
        href="" if target is None else target.href,
        is_site=row.site_id is not None,
        begins=calendar.at(row.begins_at),
        ends=calendar.at(row.ends_at),
        has_begun=row.begins_at <= calendar.now,
        by=row.created_by,
    )
