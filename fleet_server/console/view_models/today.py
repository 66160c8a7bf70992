"""The technician's stops: a terminal, where it stands, what is wrong with it, what happened last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet_server.console.moments import Calendar, Moment
from fleet_server.console.view_models.actions import pick
from fleet_server.console.view_models.codes import CodeText, code_text
from fleet_server.console.view_models.fleet import condition_shape, place_name
from fleet_server.console.view_models.timeline import Entry, entries
from fleet_server.console.words import Shape
from fleet_server.devices.service import DeviceAtSite
from fleet_server.faults.models import Fault
from fleet_server.timeline.models import Event
from protocol.capabilities import Action

MAX_FAULTS = 5
MAX_LINES = 3


@dataclass(frozen=True, slots=True)
class Finding:
    code: CodeText
    since: Moment | None


@dataclass(frozen=True, slots=True)
class Stop:
    """``more``: open faults beyond those shown. ``lines``: of its history, newest first."""

    id: str
    site_id: str
    place: str
    city: str
    number: str
    model: str
    state: Shape
    seen: Moment | None
    findings: list[Finding]
    more: int
    lines: list[Entry]


def stop(
    found: DeviceAtSite,
    faults: Sequence[Fault],
    happened: Sequence[Event],
    actions: Sequence[Action],
    calendar: Calendar,
) -> Stop:
    device, site = found.device, found.site
    titles = {action.name: pick(action.title, calendar) for action in actions}
    return Stop(
        id=device.id,
        site_id=site.id,
        place=place_name(device, site, calendar),
        city=calendar.language.pick(site.city_zh, site.city_en),
        number=device.terminal_id or device.serial_number,
        model=device.model,
        state=condition_shape(device.condition),
        seen=calendar.ago(device.last_seen_at),
        findings=[_finding(fault, calendar) for fault in faults[:MAX_FAULTS]],
        more=max(0, len(faults) - MAX_FAULTS),
        lines=entries(happened, calendar, titles)[:MAX_LINES],
    )


def _finding(fault: Fault, calendar: Calendar) -> Finding:
    return Finding(code_text(fault.code, calendar.language), calendar.at(fault.raised_at))
