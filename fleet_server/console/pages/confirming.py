"""Confirming that it is still the same person, before approvals and work on keys."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.auth.dependencies import AuthServiceDep, ConsoleSessionDep, cookie_name, set_session_cookie
from fleet_server.auth.errors import SignInNeeded
from fleet_server.auth.sessions import ConsoleSession
from fleet_server.console.frame import local_path, make_frame, page
from fleet_server.console.pages.entrance import address_of
from fleet_server.kit.times import utc_now

router = APIRouter(include_in_schema=False)


@router.get("/step-up")
def step_up_page(
    request: Request,
    session: ConsoleSessionDep,
    next: Annotated[str, "where to go afterwards"] = "/",  # noqa: A002 - the name in the address
) -> HTMLResponse:
    return _page(request, session, next)


@router.post("/step-up")
def step_up(
    request: Request,
    service: AuthServiceDep,
    session: ConsoleSessionDep,
    proof: Annotated[str, Form(max_length=256)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - the name in the form
) -> Response:
    secret, now = request.cookies.get(cookie_name(request), ""), utc_now()
    renewed = service.step_up(secret, proof, address=address_of(request), now=now)
    if renewed is not None:
        response = RedirectResponse(local_path(next), status_code=303)
        set_session_cookie(request, response, renewed.secret, until=renewed.until, now=now)
        return response
    if service.resolve(secret, now) is None:
        # Too many wrong ones have ended it.
        raise SignInNeeded(local_path(next))
    return _page(request, session, next, is_wrong=True)


def _page(request: Request, session: ConsoleSession, wanted: str, *, is_wrong: bool = False) -> HTMLResponse:
    frame = make_frame(request, session)
    return page(frame, "step_up.html", status=401 if is_wrong else 200, is_wrong=is_wrong, next=local_path(wanted))
