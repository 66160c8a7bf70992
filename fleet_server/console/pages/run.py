"""A run has its own address, so that a colleague sees the same; and the list of runs."""

from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.console.frame import local_path, make_frame, page
from fleet_server.console.run_parts import RunParts, run_list
from fleet_server.console.services import services_for
from fleet_server.executions.endpoints import ExecutionDeskDep
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

router = APIRouter(include_in_schema=False, dependencies=[console_needs(Permission.EXECUTIONS_READ)])

RunIdPath = Annotated[str, Path(max_length=64)]


@router.get("/runs")
def runs(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    cursor: Annotated[str | None, Query(max_length=400)] = None,
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session, "runs")
    rows, following = run_list(services, frame, cursor)
    return page(frame, "runs.html", rows=rows, next=f"/runs?cursor={following}" if following else "")


@router.get("/runs/{run_id}")
def run_page(request: Request, session: ConsoleSessionDep, database: SessionDep, run_id: RunIdPath) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    newest_id = services.timeline.newest_id()
    parts = RunParts(services, run_id)
    frame = make_frame(request, session, "runs", zone=parts.timezone)
    return page(frame, "run.html", newest_id=newest_id, **parts.values(frame))


@router.post("/runs/{run_id}/consent", dependencies=[console_needs(Permission.REQUEST_FIX)])
def consent(
    session: ConsoleSessionDep,
    desk: ExecutionDeskDep,
    run_id: RunIdPath,
    code: Annotated[str, Form(pattern=r"^[0-9]{6}$")],
) -> Response:
    """Whether the digits are right only the terminal knows; the page hears of it by its stream."""
    desk.consent(session.actor, run_id, code, utc_now())
    return RedirectResponse(f"/runs/{run_id}", status_code=303)


@router.post("/runs/{run_id}/cancel")
def cancel(
    request: Request,
    session: ConsoleSessionDep,
    desk: ExecutionDeskDep,
    run_id: RunIdPath,
    next: Annotated[str, Form(max_length=200)] = "",  # noqa: A002 - the name in the form
) -> Response:
    """The open page hears of it by its stream; without script one is led back."""
    desk.cancel(session.actor, run_id, utc_now())
    if request.headers.get("hx-request") == "true":
        return Response(status_code=204)
    return RedirectResponse(local_path(next) if next else f"/runs/{run_id}", status_code=303)
