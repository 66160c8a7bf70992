"""Inspections: what devices are asked for by themselves, how each round went, and what was found on one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.console.frame import Frame, make_frame, page
from fleet_server.console.inspection_words import DAYS, KINDS_OF_DEVICE, RESULTS, TURN_STATES
from fleet_server.console.services import Services, services_for
from fleet_server.console.view_models.inspections import plan_row, round_row, title_of, turn_row
from fleet_server.devices.repository import DeviceFilters
from fleet_server.inspections.models import Inspection, InspectionTurn
from fleet_server.inspections.plans import EVERY_DAY, Group, Times
from fleet_server.inspections.service import Plan, plan_of
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep
from protocol.parameters import Words

router = APIRouter(include_in_schema=False, dependencies=[console_needs(Permission.EXECUTIONS_READ)])
_READ = [console_needs(Permission.INSPECTIONS_READ)]
_MANAGE = [console_needs(Permission.INSPECTIONS_MANAGE)]
IdPath = Annotated[str, Path(max_length=64)]
DatePath = Annotated[str, Path(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Text = Annotated[str, Form(max_length=200)]
_FRESH = Plan("", (), Times(EVERY_DAY, "02:00", 120), Group())


def asked_plan(
    name: Annotated[str, Form(max_length=80)] = "",
    checks: Annotated[list[str], Form()] = [],  # noqa: B006 - FastAPI makes a new one for each request
    days: Annotated[list[int], Form()] = [],  # noqa: B006 - as above
    at: Annotated[str, Form(max_length=5)] = "",
    window_min: Annotated[int, Form()] = 120,
    q: Text = "",
    kind: Literal["", "terminal", "gateway", "attached"] = Form(""),
    model: Text = "",
) -> Plan:
    group = Group(q=q.strip(), kind=kind or None, model=model.strip() or None)
    return Plan(name, tuple(checks), Times(tuple(days), at, window_min), group)


PlanDep = Annotated[Plan, Depends(asked_plan)]


@router.get("/inspections", dependencies=_READ)
def inspections_page(request: Request, session: ConsoleSessionDep, database: SessionDep) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session, "inspections")
    rows = [plan_row(row, frame.calendar) for row in services.inspections.list()]
    ended = [plan_row(row, frame.calendar) for row in services.inspections.list(ended=True)]
    form = _form(services, frame, _FRESH) if session.actor.may(Permission.INSPECTIONS_MANAGE) else None
    return page(frame, "inspections.html", rows=rows, ended=ended, form=form)


@router.post("/inspections", dependencies=_MANAGE)
def make(request: Request, session: ConsoleSessionDep, database: SessionDep, plan: PlanDep) -> Response:
    made = services_for(request, database, session.actor).inspections.make(session.actor, plan, utc_now())
    return _to(made.id)


@router.post("/inspections/preview", dependencies=_MANAGE)
def preview(request: Request, session: ConsoleSessionDep, database: SessionDep, plan: PlanDep) -> HTMLResponse:
    """The form once more, with whom it reaches. Makes nothing."""
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session, "inspections")
    found = services.inspections.preview(plan, utc_now())
    zones = [(zone.timezone, zone.devices, frame.calendar.at(zone.opens_at)) for zone in found.zones]
    names = {check: title_of(check, found.offered, frame.calendar) for check in plan.checks}
    return page(
        frame,
        "inspection_preview.html",
        form=_form(services, frame, plan),
        found=found,
        zones=zones,
        has=[(names[check], found.has[check]) for check in plan.checks],
    )


@router.get("/inspections/{inspection_id}", dependencies=_READ)
def inspection_page(
    request: Request, session: ConsoleSessionDep, database: SessionDep, inspection_id: IdPath
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session, "inspections")
    row = services.inspections.get(inspection_id)
    plan = plan_row(row, frame.calendar)
    may = session.actor.may(Permission.INSPECTIONS_MANAGE) and plan.is_open
    choices = services.inspections.everything(utc_now()).offered
    return page(
        frame,
        "inspection.html",
        plan=plan,
        checks=[title_of(check, choices, frame.calendar) for check in row.checks],
        rounds=[round_row(one, frame.calendar) for one in services.inspections.rounds(inspection_id)],
        form=_form(services, frame, plan_of(row)) if may and row.devices.get("ids") is None else None,
        may=may,
    )


@router.post("/inspections/{inspection_id}/change", dependencies=_MANAGE)
def change(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    inspection_id: IdPath,
    plan: PlanDep,
    version: Annotated[int, Form(ge=1)],
) -> Response:
    services = services_for(request, database, session.actor)
    before = plan_of(services.inspections.get(inspection_id)).group
    # What this form does not ask for stays as it is.
    kept = Group(plan.group.q, before.site, plan.group.kind, plan.group.model, before.firmware, before.agent)
    plan = Plan(plan.name, plan.checks, plan.times, kept)
    services.inspections.change(session.actor, inspection_id, version, plan, utc_now())
    return _to(inspection_id)


@router.post("/inspections/{inspection_id}/pause", dependencies=_MANAGE)
def pause(request: Request, session: ConsoleSessionDep, database: SessionDep, inspection_id: IdPath) -> Response:
    services_for(request, database, session.actor).inspections.pause(session.actor, inspection_id, utc_now())
    return _to(inspection_id)


@router.post("/inspections/{inspection_id}/resume", dependencies=_MANAGE)
def resume(request: Request, session: ConsoleSessionDep, database: SessionDep, inspection_id: IdPath) -> Response:
    services_for(request, database, session.actor).inspections.resume(session.actor, inspection_id, utc_now())
    return _to(inspection_id)


@router.post("/inspections/{inspection_id}/end", dependencies=_MANAGE)
def end(request: Request, session: ConsoleSessionDep, database: SessionDep, inspection_id: IdPath) -> Response:
    services_for(request, database, session.actor).inspections.end(session.actor, inspection_id, utc_now())
    return _to(inspection_id)


@router.get("/inspections/{inspection_id}/rounds/{date}", dependencies=_READ)
def round_page(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    inspection_id: IdPath,
    date: DatePath,
    result: Annotated[str, Query(max_length=16)] = "",
    cursor: Annotated[str | None, Query(max_length=400)] = None,
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session, "inspections")
    row = services.inspections.get(inspection_id)
    found = services.inspections.turns(inspection_id, date, result, cursor, DEFAULT_LIMIT)
    path = f"/inspections/{inspection_id}/rounds/{date}"
    following = f"{path}?result={result}&cursor={found.next}" if found.next else ""
    return page(
        frame,
        "inspection_round.html",
        plan=plan_row(row, frame.calendar),
        date=date,
        path=path,
        result=result,
        results={**RESULTS, **{state.value: shape for state, shape in TURN_STATES.items()}},
        rows=_turn_rows(services, frame, [(turn, row) for turn in found.items]),
        next=following,
    )


@router.get("/devices/{device_id}/inspections")
def device_page(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    device_id: IdPath,
    cursor: Annotated[str | None, Query(max_length=400)] = None,
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    at_site = services.devices.get(device_id)
    frame = make_frame(request, session, "fleet", zone=at_site.site.timezone)
    found = services.inspections.of_device(device_id, cursor, DEFAULT_LIMIT)
    rows = _turn_rows(services, frame, found.items)
    following = f"/devices/{device_id}/inspections?cursor={found.next}" if found.next else ""
    return page(frame, "device_inspections.html", device=at_site.device, site=at_site.site, rows=rows, next=following)


def _form(services: Services, frame: Frame, plan: Plan) -> Mapping[str, object]:
    """What the form holds, and what there is to choose from."""
    offered = services.inspections.everything(utc_now()).offered
    names = [*offered, *(check for check in plan.checks if check not in offered)]
    checks = [(name, title_of(name, offered, frame.calendar), name in plan.checks) for name in names]
    return {"plan": plan, "checks": checks, "days": DAYS, "kinds": KINDS_OF_DEVICE}


def _turn_rows(services: Services, frame: Frame, rows: Sequence[tuple[InspectionTurn, Inspection]]) -> list[object]:
    ids = frozenset(turn.device_id for turn, _ in rows)
    listed = services.devices.list(DeviceFilters(device_ids=ids), None, DEFAULT_LIMIT).items if ids else []
    found = {one.device.id: one for one in listed}
    titles: dict[str, Words] = {}
    for device_id in found:
        declared = services.devices.capabilities(device_id)
        titles |= {one.name: one.title for one in (declared.actions if declared else ())}
    return [turn_row(turn, row, found.get(turn.device_id), titles, frame.calendar) for turn, row in rows]


def _to(inspection_id: str) -> Response:
    return RedirectResponse(f"/inspections/{inspection_id}", status_code=303)
