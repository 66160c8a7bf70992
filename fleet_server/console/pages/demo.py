"""The demo panel: break and mend simulated devices. Only under the demo; elsewhere this address does not exist."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.audit.service import record
from fleet_server.auth.dependencies import ConsoleActorDep, ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Actor, Permission
from fleet_server.console.frame import make_frame, page
from fleet_server.console.services import services_for
from fleet_server.console.simulator_door import (
    SimulatorsRefused,
    break_device,
    list_devices,
    mend_device,
)
from fleet_server.console.view_models.demo import panel
from fleet_server.console.words import REASONS
from fleet_server.db import transaction
from fleet_server.errors import FleetError
from fleet_server.request_session import SessionDep
from fleet_server.settings import ServerSettings

router = APIRouter(include_in_schema=False)
_MAY_BREAK = console_needs(Permission.DEMO_BREAK)
Word = Annotated[str, Form(max_length=120)]


class NotADemo(FleetError):
    code = "not_a_demo"
    status = 404


def demo_settings(request: Request) -> ServerSettings:
    settings: ServerSettings = request.app.state.settings
    if not settings.demo:
        raise NotADemo("this installation has real devices only")
    return settings


DemoDep = Annotated[ServerSettings, Depends(demo_settings)]


@router.get("/demo", dependencies=[console_needs(Permission.DEVICES_READ)])
def demo(
    request: Request, session: ConsoleSessionDep, settings: DemoDep, database: SessionDep, refused: str = ""
) -> HTMLResponse:
    frame = make_frame(request, session, "demo")
    problem = REASONS.get(refused, "") or (REASONS["simulators_no_answer"] if refused else "")
    try:
        devices = list_devices(settings.simulators_socket)
    except SimulatorsRefused as error:
        devices, problem = [], REASONS.get(error.reason, REASONS["simulators_no_answer"])
    shown = panel(devices, services_for(request, database, session.actor).devices, frame.calendar)
    return page(frame, "demo.html", devices=shown, problem=problem)


@router.post("/demo/break", dependencies=[_MAY_BREAK])
def break_one(request: Request, actor: ConsoleActorDep, settings: DemoDep, device: Word, fault: Word) -> Response:
    try:
        break_device(settings.simulators_socket, device, fault)
    except SimulatorsRefused as error:
        return _back(error.reason)
    return _written(request, actor, "demo_break", device, fault)


@router.post("/demo/mend", dependencies=[_MAY_BREAK])
def mend_one(request: Request, actor: ConsoleActorDep, settings: DemoDep, device: Word, fault: Word = "") -> Response:
    """Without a fault: all that the device has."""
    try:
        mend_device(settings.simulators_socket, device, fault or None)
    except SimulatorsRefused as error:
        return _back(error.reason)
    return _written(request, actor, "demo_mend", device, fault)


def _written(request: Request, actor: Actor, action: str, device: str, fault: str) -> Response:
    with transaction(request.app.state.engine, actor.reach) as session:
        record(session, actor, action, device, {"fault": fault})
    return _back("")


def _back(refused: str) -> Response:
    return RedirectResponse("/demo?" + urlencode({"refused": refused}) if refused else "/demo", status_code=303)
