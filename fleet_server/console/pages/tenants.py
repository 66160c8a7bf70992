"""The tenants of the installation, and the look of its operators into one of them."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs, cookie_name
from fleet_server.auth.roles import Permission
from fleet_server.console.frame import make_frame, page
from fleet_server.kit.times import utc_now
from fleet_server.tenants.endpoints import VisitsDep

router = APIRouter(include_in_schema=False)
_MANAGE = console_needs(Permission.TENANTS_MANAGE)
TenantIdPath = Annotated[str, Path(max_length=64)]


@router.get("/tenants", dependencies=[_MANAGE])
def tenants(request: Request, session: ConsoleSessionDep, visits: VisitsDep) -> HTMLResponse:
    found = visits.tenants(session.actor)
    own = request.app.state.settings.tenant
    return page(make_frame(request, session, "tenants"), "tenants.html", tenants=found, own=own)


@router.post("/tenants/{tenant_id}/visit", dependencies=[_MANAGE])
def visit(request: Request, _session: ConsoleSessionDep, visits: VisitsDep, tenant_id: TenantIdPath) -> Response:
    visits.begin(request.cookies.get(cookie_name(request), ""), tenant_id, utc_now())
    return RedirectResponse("/", status_code=303)


@router.post("/visit/end")
def end_visit(request: Request, _session: ConsoleSessionDep, visits: VisitsDep) -> Response:
    visits.end(request.cookies.get(cookie_name(request), ""), utc_now())
    return RedirectResponse("/", status_code=303)
