"""Inspections as the pages show them: plans in words, rounds as counts, turns with their device and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleet_server.console.inspection_words import (
    DAYS,
    MISSED,
    PLAN_STATES,
    RESULTS,
    TURN_STATES,
    shape_of_check,
    shape_of_turn,
)
from fleet_server.console.moments import Calendar, Moment
from fleet_server.console.view_models.fleet import place_name
from fleet_server.console.words import Shape
from fleet_server.devices.service import DeviceAtSite
from fleet_server.inspections.models import Inspection, InspectionTurn
from fleet_server.inspections.plans import EVERY_DAY, OUTCOMES, Missed, PlanState, TurnState
from fleet_server.inspections.service import RoundRead
from protocol.parameters import Words


@dataclass(frozen=True, slots=True)
class PlanRow:
    """``when`` and ``group`` are translated already."""

    id: str
    name: str
    state: Shape
    is_open: bool
    is_paused: bool
    when: str
    group: str
    checks: Sequence[str]
    version: int


@dataclass(frozen=True, slots=True)
class Count:
    """``key``: what `turns` of the service calls it."""

    key: str
    shape: Shape
    number: int


@dataclass(frozen=True, slots=True)
class RoundRow:
    date: str
    timezone: str
    opens: Moment | None
    devices: int
    counts: Sequence[Count]
    missed: Sequence[str]  # source texts of why, with numbers before them in ``missed_numbers``
    missed_numbers: Sequence[int]


@dataclass(frozen=True, slots=True)
class CheckCell:
    title: str
    shape: Shape
    run: str | None


@dataclass(frozen=True, slots=True)
class TurnRow:
    device_id: str
    place: str
    date: str
    inspection: str
    inspection_id: str
    shape: Shape
    why: str  # source text
    at: Moment | None
    checks: Sequence[CheckCell] = field(default=())


def plan_row(row: Inspection, calendar: Calendar) -> PlanRow:
    return PlanRow(
        id=row.id,
        name=row.name,
        state=PLAN_STATES[PlanState(row.state)],
        is_open=row.state != PlanState.ENDED,
        is_paused=row.state == PlanState.PAUSED,
        when=_when(row, calendar),
        group=_group(row, calendar),
        checks=row.checks,
        version=row.version,
    )


def round_row(one: RoundRead, calendar: Calendar) -> RoundRow:
    counts = [Count(key, RESULTS[key], one.outcomes[key]) for key in OUTCOMES if one.outcomes[key]]
    moving = ((TurnState.WAITING, one.waiting), (TurnState.ASKED, one.asked), (TurnState.MISSED, one.missed.total()))
    counts += [Count(state.value, TURN_STATES[state], number) for state, number in moving if number]
    reasons = dict(one.missed)
    if one.row.reason:
        reasons[one.row.reason] = one.row.devices
    return RoundRow(
        date=one.row.local_date,
        timezone=one.row.timezone,
        opens=calendar.at(one.row.opens_at),
        devices=one.row.devices,
        counts=counts,
        missed=[MISSED[Missed(reason)] for reason in reasons],
        missed_numbers=list(reasons.values()),
    )


def turn_row(
    turn: InspectionTurn,
    inspection: Inspection,
    found: DeviceAtSite | None,
    titles: Mapping[str, Words],
    calendar: Calendar,
) -> TurnRow:
    """``found`` None: a device that is no longer in service."""
    return TurnRow(
        device_id=turn.device_id,
        place=turn.device_id if found is None else place_name(found.device, found.site, calendar),
        date=turn.local_date,
        inspection=inspection.name,
        inspection_id=inspection.id,
        shape=shape_of_turn(turn.state, turn.outcome),
        why=MISSED[Missed(turn.reason)] if turn.reason else "",
        at=calendar.at(turn.ended_at or turn.asked_at or turn.due_at),
        checks=[
            CheckCell(title_of(check, titles, calendar), shape_of_check(one.get("outcome")), one.get("execution"))
            for check, one in turn.results.items()
        ],
    )


def title_of(check: str, titles: Mapping[str, Words], calendar: Calendar) -> str:
    found = titles.get(check)
    return check if found is None else calendar.language.pick(found.zh, found.en)


def _when(row: Inspection, calendar: Calendar) -> str:
    gettext = calendar.texts.gettext
    days = gettext("every day") if tuple(row.days) == EVERY_DAY else " ".join(gettext(DAYS[day]) for day in row.days)
    return gettext("%(days)s, from %(at)s for %(minutes)s min, local time") % {
        "days": days,
        "at": row.at_local,
        "minutes": row.window_min,
    }


def _group(row: Inspection, calendar: Calendar) -> str:
    gettext = calendar.texts.gettext
    ids = row.devices.get("ids")
    if ids:
        return gettext("%(n)s devices") % {"n": len(ids)}
    said = [str(value) for key, value in row.devices.items() if value and key != "ids"]
    return " · ".join(said) if said else gettext("all devices")
