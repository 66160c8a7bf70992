"""The device page: who and where, what is wrong in one block, open faults, what hangs on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from fleet_server.console.language import N_, Language, translations
from fleet_server.console.moments import Calendar, Moment, zone_of
from fleet_server.console.view_models.actions import Offer, offer, suggested
from fleet_server.console.view_models.codes import CodeText, code_text
from fleet_server.console.view_models.fleet import condition_shape
from fleet_server.console.view_models.habit import HabitStrip, habit_strip
from fleet_server.console.words import (
    CONDITIONS,
    DEVICE_KINDS,
    PRESENCE_REASONS,
    PRESENCES,
    SEVERITIES,
    SILENT_SAY,
    UNKNOWN_SHAPE,
    Shape,
)
from fleet_server.devices.models import Device
from fleet_server.devices.service import DeviceAtSite
from protocol.capabilities import Action
from protocol.catalogue import codes
from protocol.records import Severity

# Clocks of terminals drift by seconds; only from here on a person is told.
_CLOCK_TOLERANCE = timedelta(seconds=30)
_SEVERITY_ORDER = list(Severity)


class OpenFault(Protocol):
    """A row of the fault table (`fleet_server.faults.models.Fault`)."""

    device_id: str
    code: str
    severity: str
    raised_at: datetime
    last_seen_at: datetime
    count: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Number:
    """Something that is read out and copied."""

    name: str  # source text
    value: str


@dataclass(frozen=True, slots=True)
class OwnClock:
    text: str
    is_wrong: bool


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to call at the site, as the person who looks may see it."""

    name: str
    phone: str
    address: str
    is_masked: bool


@dataclass(frozen=True, slots=True)
class Identity:
    id: str
    merchant: str
    store: str
    site_href: str
    label: str
    model: str
    kind: str  # source text
    city: str
    site_id: str
    contact: Contact
    numbers: list[Number]
    state: Shape
    presence_words: str  # source text of why, or empty
    seen: Moment | None
    since: Moment | None
    path: str
    own_clock: OwnClock | None
    agent_version: str
    habit: HabitStrip


@dataclass(frozen=True, slots=True)
class FaultRow:
    code: CodeText
    severity: Shape
    since: Moment | None
    lasted: str
    count: int
    evidence: str
    flaps: int  # how often it came within ten minutes, when it comes and goes; else 0


@dataclass(frozen=True, slots=True)
class Lead:
    """The first block: statement, facts, words to read aloud, what to press. ``mood``: bad, warn, ok, calm."""

    mood: str
    icon: str
    statement: str
    is_source: bool  # the statement is a source text, not the catalogue's own words
    since: Moment | None
    lasted: str
    owner_icon: str
    owner: str
    advice: str
    say_zh: str
    say_en: str
    also: list[CodeText]
    main: Offer | None
    others: list[Offer]


_CALM_LEADS = {
    "silent": ("bad", N_("This device is silent although the shop should be trading")),
    "off": ("calm", N_("Switched off, as usual at this time")),
    "well": ("ok", N_("Nothing is wrong with this device")),
    "watch": ("warn", N_("It can take payments; something is to be watched")),
    "unknown": ("calm", N_("Not known: this device has not reported yet")),
    "gateway": ("calm", N_("Not known: its gateway is not connected")),
    "deviating": ("warn", N_("No fault is reported, but readings are out of their normal range")),
    "faulty": ("bad", N_("Something is wrong")),
}


def identity(
    at_site: DeviceAtSite, heard: Collection[datetime], calendar: Calendar, gateway: Device | None
) -> Identity:
    device, site = at_site.device, at_site.site
    pick = calendar.language.pick
    shape = PRESENCES.get(device.presence, UNKNOWN_SHAPE)
    if device.condition in {"silent", "off"} and device.presence != "online":
        shape = CONDITIONS[device.condition]
    numbers = [
        Number(N_("Merchant id"), site.merchant_id),
        Number(N_("Terminal id"), device.terminal_id or ""),
        Number(N_("Serial number"), device.serial_number),
        Number(N_("SIM number"), at_site.sim_phone),
        Number(N_("Firmware"), device.firmware),
    ]
    return Identity(
        id=device.id,
        merchant=pick(site.merchant_name_zh, site.merchant_name_en),
        store=pick(site.name_zh, site.name_en),
        site_href=f"/?site={site.id}",
        label=pick(device.label_zh, device.label_en),
        model=device.model,
        kind=DEVICE_KINDS.get(device.kind, N_("Device")),
        city=pick(site.city_zh, site.city_en),
        site_id=site.id,
        contact=Contact(site.contact_name, site.phone, site.address, is_masked=site.is_masked),
        numbers=[number for number in numbers if number.value],
        state=shape,
        presence_words=PRESENCE_REASONS.get(device.presence_reason, "") if device.presence != "online" else "",
        seen=calendar.ago(device.last_seen_at),
        since=calendar.at(device.presence_since),
        path=_path(device, gateway, calendar),
        own_clock=_own_clock(device, calendar),
        agent_version=device.agent_version,
        habit=habit_strip(site.trading_hours, heard, calendar.now, zone_of(site.timezone), device.enrolled_at),
    )


def has_to_wait(device: Device, gateway: Device | None) -> bool:
    """Whether what is asked for waits. A gateway takes it at once also for what does not answer on its line."""
    return (gateway or device).presence != "online"


def lead(
    device: Device, faults: Sequence[OpenFault], actions: Sequence[Action], calendar: Calendar, *, is_deviating: bool
) -> Lead:
    """From the fault that explains the others; without one, from how the device is."""
    ordered = headline_first(faults)
    present = {fault.code for fault in ordered}
    fixes, finders = suggested(actions, present)
    offers = [offer(device.id, action, calendar) for action in [*fixes, *finders]][:4]
    if not ordered:
        return _calm_lead(device, calendar, is_deviating=is_deviating)
    head = ordered[0]
    text = code_text(head.code, calendar.language)
    severe = _severity(head) in {Severity.MAJOR, Severity.CRITICAL}
    return Lead(
        mood="bad" if severe else "warn",
        icon="bad" if severe else "warn",
        statement=text.title,
        is_source=False,
        since=calendar.at(head.raised_at),
        lasted=calendar.span((calendar.now - head.raised_at).total_seconds()),
        owner_icon=text.owner_icon,
        owner=text.owner,
        advice=text.advice,
        say_zh=text.say_zh,
        say_en=text.say_en,
        also=[code_text(fault.code, calendar.language) for fault in ordered[1:4]],
        main=offers[0] if offers else None,
        others=offers[1:],
    )


def _calm_lead(device: Device, calendar: Calendar, *, is_deviating: bool) -> Lead:
    """Without a fault. A device is not called well while readings say otherwise."""
    state = device.condition
    if state == "unknown" and device.presence_reason == "gateway":
        state = "gateway"
    elif state == "well" and is_deviating:
        state = "deviating"
    mood, statement = _CALM_LEADS.get(state, _CALM_LEADS["unknown"])
    icon = mood if mood in {"ok", "warn"} else condition_shape(device.condition).icon
    # Since when readings deviate is not known here: each says its own time.
    since = None if state == "deviating" else calendar.at(device.condition_since)
    say_zh, say_en = _silent_say() if state == "silent" else ("", "")
    return Lead(mood, icon, statement, True, since, "", "", "", "", say_zh, say_en, [], None, [])


def _silent_say() -> tuple[str, str]:
    return translations(Language.ZH).gettext(SILENT_SAY), translations(Language.EN).gettext(SILENT_SAY)


def headline_first(faults: Sequence[OpenFault]) -> list[OpenFault]:
    """Causes before what follows from them, severe before mild, old before new."""
    explained = codes.consequences(fault.code for fault in faults)
    return sorted(
        faults,
        key=lambda fault: (fault.code in explained, -_SEVERITY_ORDER.index(_severity(fault)), fault.raised_at),
    )


def fault_rows(faults: Sequence[OpenFault], calendar: Calendar, flapping: Mapping[str, int]) -> list[FaultRow]:
    """``flapping``: codes that come and go, and how often they came lately."""
    return [
        FaultRow(
            code=code_text(fault.code, calendar.language),
            severity=SEVERITIES[_severity(fault)],
            since=calendar.at(fault.raised_at),
            lasted=calendar.span((calendar.now - fault.raised_at).total_seconds()),
            count=fault.count,
            evidence=fault.evidence,
            flaps=flapping.get(fault.code, 0),
        )
        for fault in headline_first(faults)
    ]


def _severity(fault: OpenFault) -> Severity:
    return next((one for one in Severity if one.value == fault.severity), Severity.MINOR)


def _path(device: Device, gateway: Device | None, calendar: Calendar) -> str:
    if gateway is None or device.line is None:
        return ""
    name = calendar.language.pick(gateway.label_zh, gateway.label_en)
    return calendar.texts.gettext("through %(gateway)s, line %(line)s") % {"gateway": name, "line": device.line}


def _own_clock(device: Device, calendar: Calendar) -> OwnClock | None:
    if device.clock_offset_ms is None:
        return None
    offset = timedelta(milliseconds=device.clock_offset_ms)
    try:
        local = (calendar.now + offset).astimezone(calendar.zone)
    except OverflowError:
        return OwnClock("—", is_wrong=True)
    return OwnClock(local.strftime("%Y-%m-%d %H:%M"), is_wrong=abs(offset) > _CLOCK_TOLERANCE)
