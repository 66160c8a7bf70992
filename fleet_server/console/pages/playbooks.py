"""Playbooks on a device: which fit, starting one, and the page on which its walk is followed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.auth.sessions import ConsoleSession
from fleet_server.console.frame import make_frame, page
from fleet_server.console.services import services_for
from fleet_server.console.view_models.fleet import place_name
from fleet_server.console.view_models.playbooks import offer, walk_view
from fleet_server.console.walk_parts import WalkParts
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from fleet_server.playbooks.repository import RunFilters
from fleet_server.playbooks.service import PlaybookService
from fleet_server.request_session import SessionDep
from protocol.playbooks.checking import given_from_text

router = APIRouter(include_in_schema=False, dependencies=[console_needs(Permission.EXECUTIONS_READ)])

DeviceIdPath = Annotated[str, Path(max_length=64)]
WalkIdPath = Annotated[str, Path(max_length=64)]
_SHOWN = 10
_FIELD = "v-"


@router.get("/devices/{device_id}/playbooks")
def playbooks_page(
    request: Request, session: ConsoleSessionDep, database: SessionDep, device_id: DeviceIdPath
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    at_site = services.devices.get(device_id)
    frame = make_frame(request, session, "fleet", zone=at_site.site.timezone)
    codes = [fault.code for fault in services.faults.open_of(device_id)]
    offers = [offer(one, frame.calendar) for one in services.playbooks.offered(device_id, codes)]
    found = services.playbooks.list(RunFilters(device=device_id), None, _SHOWN).items
    return page(
        frame,
        "device_playbooks.html",
        device=at_site.device,
        place=place_name(at_site.device, at_site.site, frame.calendar),
        offers=offers,
        running=any(one.row.is_open for one in found),
        walks=[walk_view(one, {}, frame.calendar) for one in found],
        may=session.actor.may(Permission.REQUEST_CHECK),
    )


@router.post("/devices/{device_id}/playbooks/{playbook}")
async def start(
    request: Request,
    session: ConsoleSessionDep,
    device_id: DeviceIdPath,
    playbook: Annotated[str, Path(max_length=48)],
) -> Response:
    """Leads to the walk's page."""
    typed = {key: value for key, value in (await request.form()).items() if isinstance(value, str)}
    return await run_in_threadpool(_start, request, session, device_id, playbook, typed)


def _start(request: Request, session: ConsoleSession, device_id: str, name: str, typed: dict[str, str]) -> Response:
    with transaction(request.app.state.engine, session.actor.reach) as database:
        service: PlaybookService = services_for(request, database, session.actor).playbooks
        asked = [one for one in service.definition(name).variables if one.asked]
        texts = [
            (one.name, typed.get(_FIELD + one.name, "false" if isinstance(one.start, bool) else str(one.start)))
            for one in asked
        ]
        given = given_from_text(service.definition(name), texts)
        walk_id = service.start(session.actor, device_id, name, given, utc_now()).row.id
    return RedirectResponse(f"/walks/{walk_id}", status_code=303)


@router.get("/walks/{walk_id}")
def walk_page(request: Request, session: ConsoleSessionDep, database: SessionDep, walk_id: WalkIdPath) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    newest_id = services.timeline.newest_id()
    parts = WalkParts(services, walk_id)
    frame = make_frame(request, session, "fleet", zone=parts.timezone)
    return page(frame, "walk.html", newest_id=newest_id, **parts.values(frame))


@router.post("/walks/{walk_id}/cancel")
def cancel(request: Request, session: ConsoleSessionDep, database: SessionDep, walk_id: WalkIdPath) -> Response:
    services_for(request, database, session.actor).playbooks.cancel(session.actor, walk_id, utc_now())
    return RedirectResponse(f"/walks/{walk_id}", status_code=303)
