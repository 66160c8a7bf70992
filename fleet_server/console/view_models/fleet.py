"""Rows of the fleet page, the census, and the conditions in its address."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from fleet_server.console.language import N_, Language
from fleet_server.console.moments import Calendar, Moment, zone_of
from fleet_server.console.templating import number_text
from fleet_server.console.view_models.codes import CodeText, code_text
from fleet_server.console.view_models.habit import HabitStrip, habit_strip
from fleet_server.console.view_models.readings import metric_title, unit_text
from fleet_server.console.words import CENSUS_WORDS, CONDITIONS, DEVIATING, DEVICE_KINDS, UNKNOWN_SHAPE, Shape
from fleet_server.devices.models import Device
from fleet_server.health.searching import Condition
from fleet_server.sites.shown import SiteShown
from protocol.catalogue import metrics

# In the address: devices that never told their model or version.
UNTOLD = "-"
NOT_TOLD = N_("not told")


@dataclass(frozen=True, slots=True)
class FleetRow:
    id: str
    state: Shape
    name: str
    number: str  # terminal id, else serial number
    finding: CodeText | None
    model: str
    firmware: str
    habit: HabitStrip
    seen: Moment | None
    since: Moment | None  # of a device that is not simply well


@dataclass(frozen=True, slots=True)
class CensusEntry:
    """A number is a link to the list that it counts."""

    condition: str
    state: Shape
    count: int
    href: str


@dataclass(frozen=True, slots=True)
class Filters:
    """The conditions of the list, exactly as they stand in the address."""

    q: str = ""
    condition: str = ""
    presence: str = ""
    site: str = ""
    kind: str = ""
    model: str = ""
    firmware: str = ""
    agent: str = ""
    conditions: tuple[Condition, ...] = ()
    where: str = ""  # as typed, when it cannot be read

    def query(self, **changed: str) -> str:
        """The address of the list with these changes; a condition changed to nothing is taken away."""
        values = {
            "q": self.q,
            "condition": self.condition,
            "presence": self.presence,
            **self.kept,
            "where": self.where_text,
            **changed,
        }
        text = urlencode({key: value for key, value in values.items() if value})
        return f"/?{text}" if text else "/"

    @property
    def is_empty(self) -> bool:
        return not (self.q or self.condition or self.presence or self.where_text or any(self.kept.values()))

    @property
    def kept(self) -> dict[str, str]:
        """Conditions that links set and nobody types."""
        return {
            "site": self.site,
            "kind": self.kind,
            "model": self.model,
            "firmware": self.firmware,
            "agent": self.agent,
        }

    @property
    def where_text(self) -> str:
        return self.where or ",".join(map(str, self.conditions))

    def without(self, condition: Condition) -> str:
        return self.query(where=",".join(str(one) for one in self.conditions if one != condition))


@dataclass(frozen=True, slots=True)
class Chip:
    """One condition: its name, its value in words, and the address without it."""

    name: str  # source text
    value: str
    is_source: bool  # the value is a source text too, not somebody's own word
    without: str


def place_name(device: Device, site: SiteShown, calendar: Calendar) -> str:
    pick = calendar.language.pick
    parts = (
        pick(site.merchant_name_zh, site.merchant_name_en),
        pick(site.name_zh, site.name_en),
        pick(device.label_zh, device.label_en),
    )
    return " · ".join(part for part in parts if part)


def condition_shape(condition: str) -> Shape:
    return CONDITIONS.get(condition, UNKNOWN_SHAPE)


def fleet_row(
    device: Device, site: SiteShown, heard_hours: Collection[datetime], calendar: Calendar, *, is_deviating: bool
) -> FleetRow:
    """``is_deviating``: newest readings are out of their normal range."""
    return FleetRow(
        id=device.id,
        state=DEVIATING if is_deviating else condition_shape(device.condition),
        name=place_name(device, site, calendar),
        number=device.terminal_id or device.serial_number,
        finding=code_text(device.worst_code, calendar.language) if device.worst_code else None,
        since=None if device.condition == "well" else calendar.at(device.condition_since),
        model=device.model,
        firmware=device.firmware,
        habit=habit_strip(site.trading_hours, heard_hours, calendar.now, zone_of(site.timezone), device.enrolled_at),
        seen=calendar.ago(device.last_seen_at),
    )


def census(counts: Mapping[str, int]) -> list[CensusEntry]:
    return [
        CensusEntry(
            condition=condition,
            state=Shape(shape.icon, shape.tone, CENSUS_WORDS[condition]),
            count=counts.get(condition, 0),
            href=Filters(condition=condition).query(),
        )
        for condition, shape in CONDITIONS.items()
    ]


def chips(filters: Filters, site_name: str, names: Mapping[str, str], language: Language) -> list[Chip]:
    """``names``: the source texts of the conditions' names by the key in the address."""
    made: list[Chip] = []
    if filters.condition:
        made.append(Chip(names["condition"], CENSUS_WORDS[filters.condition], True, filters.query(condition="")))
    if filters.q:
        made.append(Chip(names["q"], filters.q, False, filters.query(q="")))
    for name, value in filters.kept.items():
        if name == "kind" and value:
            made.append(Chip(names[name], DEVICE_KINDS[value], True, filters.query(kind="")))
        elif value == UNTOLD:
            made.append(Chip(names[name], NOT_TOLD, True, filters.query(**{name: ""})))
        elif value:
            words = site_name or value if name == "site" else value
            made.append(Chip(names[name], words, False, filters.query(**{name: ""})))
    made += [
        Chip(names["where"], _condition_text(one, language), False, filters.without(one)) for one in filters.conditions
    ]
    return made


def _condition_text(condition: Condition, language: Language) -> str:
    """``Battery level < 20 %``."""
    metric = metrics.get(condition.metric)
    unit = "" if metric is None else unit_text(metric, language)
    value = condition.value if isinstance(condition.value, str) else number_text(condition.value)
    return f"{metric_title(condition.metric, language)} {condition.comparison} {value} {unit}".strip()
