"""Finding a device: the palette, a page for browsers without script, and the door for a telephone system."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.auth.dependencies import (
    AuthServiceDep,
    ConsoleSessionDep,
    console_needs,
    console_session,
    require,
)
from fleet_server.auth.errors import SignInNeeded
from fleet_server.auth.roles import Permission
from fleet_server.console.frame import fragment, make_frame, page
from fleet_server.console.language import N_
from fleet_server.console.pages.fleet import rows_of
from fleet_server.console.services import services_for
from fleet_server.request_session import SessionDep

router = APIRouter(include_in_schema=False)
_MAY_LOOK = console_needs(Permission.DEVICES_READ)
PALETTE_HITS = 8
_ASKED_NAMES = {
    "phone": N_("Phone"),
    "sn": N_("Serial number"),
    "tid": N_("Terminal id"),
    "mid": N_("Merchant id"),
}

Asked = Annotated[str, Query(max_length=120)]


@router.get("/search", dependencies=[_MAY_LOOK])
def search(request: Request, session: ConsoleSessionDep, database: SessionDep, q: Asked = "") -> HTMLResponse:
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session)
    rows = rows_of(services, services.devices.find(q), frame)
    asked = [(N_("Name or number"), q)] if q.strip() else []
    return page(frame, "search.html", q=q, rows=rows, asked=asked)


@router.get("/search/palette", dependencies=[_MAY_LOOK])
def palette(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    q: Asked = "",
    frame: bool = False,  # noqa: FBT001, FBT002 - a switch in the address
) -> HTMLResponse:
    """``frame``: the palette itself; else only the hits."""
    shown = make_frame(request, session)
    if frame:
        return HTMLResponse(fragment(shown, "parts/palette.html"))
    services = services_for(request, database, session.actor)
    found = services.devices.find(q)
    rows = rows_of(services, found[:PALETTE_HITS], shown)
    return HTMLResponse(fragment(shown, "parts/palette_hits.html", rows=rows, q=q, more=len(found) - len(rows)))


@router.get("/open")
def open_for_call(
    request: Request,
    service: AuthServiceDep,
    database: SessionDep,
    phone: Asked = "",
    sn: Asked = "",
    tid: Asked = "",
    mid: Asked = "",
) -> Response:
    """One hit leads to the device; several are listed; none says what was looked for."""
    try:
        session = console_session(request, service, "")
    except SignInNeeded:
        # A link in a web telephone comes from another site, and the browser keeps our cookie back then. Asked once more
        # by our own page it sends it.
        if request.headers.get("sec-fetch-site") == "cross-site":
            return page(make_frame(request, None), "once_more.html")
        raise
    require(session.actor, Permission.DEVICES_READ)
    services = services_for(request, database, session.actor)
    found = services.devices.look_up(phone=phone, sn=sn, tid=tid, mid=mid)
    if len(found) == 1:
        return RedirectResponse(f"/devices/{found[0].device.id}", status_code=303)
    frame = make_frame(request, session)
    given = {"phone": phone, "sn": sn, "tid": tid, "mid": mid}
    asked = [(_ASKED_NAMES[name], value) for name, value in given.items() if value.strip()]
    return page(frame, "search.html", q="", rows=rows_of(services, found, frame), asked=asked)
