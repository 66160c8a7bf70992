"""HTTP shapes of inspections."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.config import JsonDict

from fleet_server.inspections.models import Inspection, InspectionRound, InspectionTurn
from fleet_server.inspections.plans import (
    LONGEST_WINDOW_MIN,
    MAX_CHECKS,
    MAX_LISTED,
    SHORTEST_WINDOW_MIN,
    Group,
    Times,
)
from fleet_server.inspections.service import Plan, Preview, RoundRead
from fleet_server.kit.schemas import Answer, Asked, Moment, Words

Text = Annotated[str, Field(max_length=200)]
# Described only: who is refused is told by the service what was expected.
_TIME_OF_DAY: JsonDict = {"pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}
_WINDOW_MIN: JsonDict = {"minimum": SHORTEST_WINDOW_MIN, "maximum": LONGEST_WINDOW_MIN}
Outcome = Literal["pass", "warn", "fail", "error", "unsupported", ""]


class GroupAsked(Asked):
    """Devices by what they are, looked for anew at each round, or by ``ids``. All that is left out fits any."""

    q: Annotated[Text, Field(description="words of names and numbers")] = ""
    site: Text | None = None
    kind: Literal["terminal", "gateway", "attached"] | None = None
    model: Text | None = None
    firmware: Text | None = None
    agent: Text | None = None
    ids: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_LISTED)] | None = None


class InspectionAsked(Asked):
    name: Annotated[str, Field(min_length=1, max_length=80)]
    checks: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=MAX_CHECKS)]
    days: Annotated[
        list[Annotated[int, Field(ge=1, le=7)]],
        Field(min_length=1, max_length=7, description="1 Monday to 7 Sunday"),
    ] = [1, 2, 3, 4, 5, 6, 7]  # noqa: RUF012 - pydantic copies it
    at: Annotated[
        str,
        Field(max_length=5, description="HH:MM on the clocks where the devices stand", json_schema_extra=_TIME_OF_DAY),
    ] = "02:00"
    window_min: Annotated[
        int, Field(description="over how many minutes devices are spread", json_schema_extra=_WINDOW_MIN)
    ] = 120
    devices: GroupAsked = GroupAsked()

    def plan(self) -> Plan:
        ids = None if self.devices.ids is None else tuple(self.devices.ids)
        group = Group(**{**self.devices.model_dump(exclude={"ids"}), "ids": ids})
        return Plan(self.name, tuple(self.checks), Times(tuple(self.days), self.at, self.window_min), group)


class InspectionChangeAsked(InspectionAsked):
    version: Annotated[int, Field(ge=1, description="the one that was read")]


class GroupRead(Answer):
    q: str
    site: str | None
    kind: str | None
    model: str | None
    firmware: str | None
    agent: str | None
    ids: list[str] | None


class InspectionRead(Answer):
    id: str
    name: str
    checks: list[str]
    days: list[int]
    at: str
    window_min: int
    devices: GroupRead
    state: Literal["active", "paused", "ended"]
    version: int
    created_by: str
    created_at: Moment
    changed_at: Moment


class InspectionsRead(Answer):
    items: list[InspectionRead]


class ZoneRead(Answer):
    timezone: str
    devices: int
    opens_at: Moment


class PreviewRead(Answer):
    """``has``: how many of the ``looked_at`` devices have each check; ``offered``: which checks they have, and
    what people call them.
    """

    devices: int
    zones: list[ZoneRead]
    looked_at: int
    has: dict[str, int]
    offered: dict[str, Words]


class RoundAnswer(Answer):
    """``outcomes`` count devices by the worst of their checks, ``missed`` those without a result by why."""

    date: str
    timezone: str
    opens_at: Moment
    closes_at: Moment
    devices: int
    waiting: int
    asked: int
    outcomes: dict[str, int]
    missed: dict[str, int]
    reason: str


class RoundsRead(Answer):
    items: list[RoundAnswer]


class CheckResult(Answer):
    """``outcome`` null: it has not ended; "": it did not run to its end, and ``code`` says why."""

    check: str
    execution: str | None
    outcome: Outcome | None
    state: str | None
    code: str | None


class TurnRead(Answer):
    inspection: str
    date: str
    timezone: str
    device: str
    due_at: Moment
    closes_at: Moment
    state: Literal["waiting", "asked", "done", "missed"]
    outcome: Outcome
    reason: str
    results: list[CheckResult]
    asked_at: Moment | None
    ended_at: Moment | None


class DeviceTurnRead(TurnRead):
    inspection_name: str


def inspection_read(row: Inspection) -> InspectionRead:
    same = ("id", "name", "checks", "days", "window_min", "devices", "state", "version")
    values = {name: getattr(row, name) for name in (*same, "created_by", "created_at", "changed_at")}
    return InspectionRead.model_validate({**values, "at": row.at_local})


def preview_read(found: Preview) -> PreviewRead:
    zones = [ZoneRead(timezone=one.timezone, devices=one.devices, opens_at=one.opens_at) for one in found.zones]
    offered = {name: Words(zh=title.zh, en=title.en) for name, title in found.offered.items()}
    has = dict(found.has)
    return PreviewRead(devices=found.devices, zones=zones, looked_at=found.looked_at, has=has, offered=offered)


def round_read(one: RoundRead) -> RoundAnswer:
    row: InspectionRound = one.row
    return RoundAnswer(
        date=row.local_date,
        timezone=row.timezone,
        opens_at=row.opens_at,
        closes_at=row.closes_at,
        devices=row.devices,
        waiting=one.waiting,
        asked=one.asked,
        outcomes=dict(one.outcomes),
        missed=dict(one.missed),
        reason=row.reason,
    )


def turn_values(row: InspectionTurn) -> dict[str, object]:
    same = ("timezone", "due_at", "closes_at", "state", "outcome", "reason", "asked_at", "ended_at")
    results = [
        {"check": check, **{name: one.get(name) for name in ("execution", "outcome", "state", "code")}}
        for check, one in row.results.items()
    ]
    named = {"inspection": row.inspection_id, "date": row.local_date, "device": row.device_id, "results": results}
    return {**{name: getattr(row, name) for name in same}, **named}


def turn_read(row: InspectionTurn) -> TurnRead:
    return TurnRead.model_validate(turn_values(row))


def device_turn_read(row: InspectionTurn, inspection: Inspection) -> DeviceTurnRead:
    return DeviceTurnRead.model_validate({**turn_values(row), "inspection_name": inspection.name})
