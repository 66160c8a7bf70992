"""Who works at which terminals: given and taken back by the desk, and the technician's own page of today."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlmodel import Session

from fleet_server.assignments.repository import AssignmentFilters
from fleet_server.assignments.service import AssignmentService, Wish
from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.auth.sessions import ConsoleSession
from fleet_server.console.frame import Frame, make_frame, page
from fleet_server.console.services import Services, services_for
from fleet_server.console.view_models.assignments import Target, assigned_row, device_target, site_target
from fleet_server.console.view_models.today import Stop, stop
from fleet_server.devices.repository import DeviceFilters
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep
from fleet_server.sites.errors import SiteNotFound
from fleet_server.sites.service import SiteService

router = APIRouter(include_in_schema=False)
_MANAGE = console_needs(Permission.ASSIGNMENTS_MANAGE)
_LOOK = console_needs(Permission.DEVICES_READ)
IdPath = Annotated[str, Path(max_length=64)]
Id = Annotated[str, Query(max_length=64)]
# A page for a phone: more stops than a day has.
STOPS = 20
_HISTORY = 12


@router.get("/assignments", dependencies=[_MANAGE])
def assignments_page(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    device: Id = "",
    site: Id = "",
    cursor: Annotated[str | None, Query(max_length=400)] = None,
) -> HTMLResponse:
    """``device`` or ``site``: what the form gives to a technician."""
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session, "assignments")
    managed = AssignmentService(database, session.actor, frame.calendar.now)
    found = managed.page(AssignmentFilters(ends_after=frame.calendar.now), cursor, DEFAULT_LIMIT)
    targets = _targets(
        services, database, session, frame, [(one.row.device_id, one.row.site_id) for one in found.items]
    )
    return page(
        frame,
        "assignments.html",
        rows=[assigned_row(one, targets, frame.calendar) for one in found.items],
        next=f"/assignments?cursor={found.next}" if found.next else "",
        target=_target(services, database, session, frame, device, site),
        technicians=managed.assignees(),
        today=frame.calendar.now.astimezone(frame.calendar.zone).date().isoformat(),
    )


@router.post("/assignments", dependencies=[_MANAGE])
def assign(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    technician: Annotated[str, Form(max_length=80)],
    first: Annotated[date, Form()],
    last: Annotated[date, Form()],
    device: Annotated[str, Form(max_length=64)] = "",
    site: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """From the first day to the end of the last, by the clocks where it stands."""
    frame = make_frame(request, session, "assignments")
    services = services_for(request, database, session.actor)
    target = _target(services, database, session, frame, device, site)
    now = utc_now()
    zone = frame.calendar.zone if target is None else target.zone
    begins_at = max(now, datetime.combine(first, time.min, zone))
    ends_at = datetime.combine(last, time.min, zone) + timedelta(days=1)
    wish = Wish(technician, device or None, site or None, begins_at, ends_at)
    AssignmentService(database, session.actor, now).assign(wish)
    return RedirectResponse("/assignments", status_code=303)


@router.post("/assignments/{assignment_id}/end", dependencies=[_MANAGE])
def end(session: ConsoleSessionDep, database: SessionDep, assignment_id: IdPath) -> Response:
    AssignmentService(database, session.actor, utc_now()).end(assignment_id)
    return RedirectResponse("/assignments", status_code=303)


@router.get("/today", dependencies=[_LOOK])
def today(request: Request, session: ConsoleSessionDep, database: SessionDep) -> HTMLResponse:
    """What is assigned to whoever looks, worst first: its open faults and what happened last."""
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session, "today")
    works_here = session.actor.role.works_by_assignments
    stops = _stops(services, frame) if works_here else []
    return page(frame, "today.html", works_here=works_here, stops=stops[:STOPS], is_more=len(stops) > STOPS)


def _stops(services: Services, frame: Frame) -> list[Stop]:
    found = services.devices.list(DeviceFilters(), None, STOPS + 1).items
    faults = services.faults.open_of_all([one.device.id for one in found])
    made = []
    for one in found:
        declared = services.devices.capabilities(one.device.id)
        happened = services.timeline.page(one.device.id, [], None, _HISTORY).items
        made.append(
            stop(one, faults[one.device.id], happened, () if declared is None else declared.actions, frame.calendar)
        )
    return made


def _target(
    services: Services, database: Session, session: ConsoleSession, frame: Frame, device: str, site: str
) -> Target | None:
    if device:
        return device_target(services.devices.get(device), frame.calendar)
    if site:
        return site_target(SiteService(database, session.actor, frame.calendar.now).get(site), frame.calendar)
    return None


def _targets(
    services: Services,
    database: Session,
    session: ConsoleSession,
    frame: Frame,
    of_rows: list[tuple[str | None, str | None]],
) -> dict[str, Target]:
    """By id. What is out of service since has none."""
    ids = frozenset(device_id for device_id, _ in of_rows if device_id)
    devices = services.devices.list(DeviceFilters(device_ids=ids), None, DEFAULT_LIMIT).items if ids else []
    found = {one.device.id: device_target(one, frame.calendar) for one in devices}
    sites = SiteService(database, session.actor, frame.calendar.now)
    for site_id in {site_id for _, site_id in of_rows if site_id}:
        try:
            found[site_id] = site_target(sites.get(site_id), frame.calendar)
        except SiteNotFound:
            continue
    return found
