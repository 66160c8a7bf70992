"""Devices on their way in and out: those that wait for a person, codes for new ones, and taking one out of service.

Whatever makes or ends an identity asks for a fresh proof of who is at the screen.
"""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Actor, Permission
from fleet_server.auth.step_up import SteppedUpDep
from fleet_server.console.enrolment_words import ENROLMENT_STATES, RETIREMENT_REASONS, TERMINAL_CLASSES
from fleet_server.console.frame import make_frame, page
from fleet_server.console.services import services_for
from fleet_server.enrollment.codes import Codes, State
from fleet_server.enrollment.pallet import read_line
from fleet_server.enrollment.qr import as_svg
from fleet_server.enrollment.retirement import Reason, Retirements
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep
from fleet_server.settings import ServerSettings

router = APIRouter(include_in_schema=False)
_MANAGE = console_needs(Permission.DEVICES_MANAGE)
_REVOKE = console_needs(Permission.DEVICES_REVOKE)
_SHOWN = 50
Text = Annotated[str, Form(max_length=120)]
IdPath = Annotated[str, Path(max_length=64)]


@router.get("/enrolment", dependencies=[_MANAGE])
def enrolment_page(request: Request, session: ConsoleSessionDep, database: SessionDep) -> HTMLResponse:
    frame = make_frame(request, session, "enrolment")
    codes = _codes(request, database, session.actor)
    return page(
        frame,
        "enrolment.html",
        waiting=codes.page(State.PENDING, None, _SHOWN).items,
        newest=[row for row in codes.page(None, None, _SHOWN).items if row.state != State.PENDING],
        gone=Retirements(database, session.actor, utc_now()).newest(_SHOWN),
        states=ENROLMENT_STATES,
        reasons=RETIREMENT_REASONS,
        classes=TERMINAL_CLASSES,
    )


@router.post("/enrolment/codes", dependencies=[_MANAGE])
def make_code(
    request: Request,
    session: ConsoleSessionDep,
    actor: SteppedUpDep,
    database: SessionDep,
    serial_number: Text,
    model: Text,
    terminal_class: Text,
    site: Text = "",
    hours: Annotated[int, Form(ge=1, le=90 * 24)] = 72,
    needs_approval: Annotated[str, Form(max_length=8)] = "",
) -> HTMLResponse:
    """Shown once, on the answer itself."""
    codes = _codes(request, database, actor)
    values = {"serial_number": serial_number, "model": model, "terminal_class": terminal_class}
    wanted = read_line(values | {"site": codes.site_named(site) if site.strip() else ""})
    (made,) = codes.make([wanted], timedelta(hours=hours), needs_approval=needs_approval == "on")
    settings: ServerSettings = request.app.state.settings
    frame = make_frame(request, session, "enrolment")
    drawn = Markup(as_svg(made, settings.url))  # noqa: S704 - made by the library from a code of ours
    return page(frame, "enrolment_code.html", made=made, url=settings.url, qr=drawn)


@router.post("/enrolment/{enrolment_id}/approve", dependencies=[_MANAGE])
def approve(
    request: Request, actor: SteppedUpDep, database: SessionDep, enrolment_id: IdPath, site: Text = ""
) -> Response:
    codes = _codes(request, database, actor)
    codes.approve(enrolment_id, codes.site_named(site) if site.strip() else None)
    return _back()


@router.post("/enrolment/{enrolment_id}/refuse", dependencies=[_MANAGE])
def refuse(request: Request, actor: SteppedUpDep, database: SessionDep, enrolment_id: IdPath) -> Response:
    _codes(request, database, actor).refuse(enrolment_id)
    return _back()


@router.post("/enrolment/{enrolment_id}/withdraw", dependencies=[_MANAGE])
def withdraw(request: Request, actor: SteppedUpDep, database: SessionDep, enrolment_id: IdPath) -> Response:
    _codes(request, database, actor).withdraw(enrolment_id)
    return _back()


@router.get("/devices/{device_id}/retirement", dependencies=[_REVOKE])
def retirement_page(
    request: Request, session: ConsoleSessionDep, _actor: SteppedUpDep, database: SessionDep, device_id: IdPath
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    found = services.devices.get(device_id)
    attached = services.devices.attached_to(device_id)
    frame = make_frame(request, session, "fleet", zone=found.site.timezone)
    return page(
        frame, "retirement.html", device=found.device, site=found.site, attached=attached, reasons=RETIREMENT_REASONS
    )


@router.post("/devices/{device_id}/retirement", dependencies=[_REVOKE])
def retire(
    actor: SteppedUpDep,
    database: SessionDep,
    device_id: IdPath,
    reason: Annotated[Reason, Form()],
    note: Annotated[str, Form(max_length=300)] = "",
) -> Response:
    Retirements(database, actor, utc_now()).retire(device_id, reason, note)
    may_look = actor.may(Permission.DEVICES_MANAGE)
    return RedirectResponse("/enrolment" if may_look else "/", status_code=303)


def _codes(request: Request, database: SessionDep, actor: Actor) -> Codes:
    root = request.app.state.settings.keys_dir / "ca.crt"
    return Codes(database, actor, root.read_bytes, utc_now())


def _back() -> Response:
    return RedirectResponse("/enrolment", status_code=303)
