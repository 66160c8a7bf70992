"""One's own account: password, second factor, sessions; and the page where a new person chooses the first password."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.auth.dependencies import (
    ConsoleSessionDep,
    OwnPasswordDep,
    SameOrigin,
    cookie_name,
    mark_browser,
    set_session_cookie,
)
from fleet_server.auth.errors import PasswordTooWeak
from fleet_server.auth.own_account import OwnAccount
from fleet_server.auth.sessions import ConsoleSession, Place, Stage, digest
from fleet_server.console.frame import make_frame, page
from fleet_server.console.language import N_
from fleet_server.console.pages.entrance import address_of, after_password, remember_choices
from fleet_server.console.words import ROLES, WEAKNESSES
from fleet_server.kit.times import utc_now

router = APIRouter(include_in_schema=False)

PasswordForm = Annotated[str, Form(max_length=256)]
_WRONG = N_("The present password is not right. Nothing was changed.")
_SET_UP_REFUSED = N_("Name and code do not match, or the code was used or is too old. Ask for another one.")


@router.get("/account")
def account(request: Request, session: ConsoleSessionDep) -> HTMLResponse:
    return _account_page(request, session)


@router.post("/account/password")
def change_password(
    request: Request,
    session: ConsoleSessionDep,
    service: OwnPasswordDep,
    current: PasswordForm = "",
    new: PasswordForm = "",
    again: PasswordForm = "",
) -> Response:
    now, secret = utc_now(), request.cookies.get(cookie_name(request), "")
    try:
        renewed = service.change(secret, current, new, again, address=address_of(request), now=now)
    except PasswordTooWeak as error:
        return _account_page(request, session, problem=WEAKNESSES[error.weakness])
    if renewed is None:
        return _account_page(request, session, problem=_WRONG)
    response = RedirectResponse("/account?done=password", status_code=303)
    set_session_cookie(request, response, renewed.secret, until=renewed.until, now=now)
    return response


@router.post("/account/sessions/end")
def end_sessions(
    request: Request, session: ConsoleSessionDep, which: Annotated[str, Form(max_length=64)] = ""
) -> Response:
    """``which``: one of the list; empty: all of them, this one too."""
    OwnAccount(request.app.state.engine).end_sessions(session.actor, which or None, utc_now())
    return RedirectResponse("/account?done=sessions", status_code=303)


@router.get("/set-up")
def set_up_page(request: Request) -> HTMLResponse:
    return _set_up_page(request, "")


@router.post("/set-up", dependencies=[SameOrigin])
def set_up(
    request: Request,
    service: OwnPasswordDep,
    name: Annotated[str, Form(max_length=64)] = "",
    code: Annotated[str, Form(max_length=64)] = "",
    new: PasswordForm = "",
    again: PasswordForm = "",
) -> Response:
    now = utc_now()
    place = Place(address_of(request), request.headers.get("user-agent", ""))
    try:
        opened = service.set_up(name, code, new, again, place=place, now=now)
    except PasswordTooWeak as error:
        return _set_up_page(request, name, problem=WEAKNESSES[error.weakness])
    if opened is None:
        return _set_up_page(request, name, problem=_SET_UP_REFUSED)
    response = RedirectResponse(after_password(opened.session.stage, "/"), status_code=303)
    set_session_cookie(request, response, opened.secret, until=opened.until, now=now)
    if opened.session.stage is Stage.OPEN:
        remember_choices(response, opened.session)
        mark_browser(request, response, opened.session.actor, now)
    return response


def _account_page(request: Request, session: ConsoleSession, *, problem: str = "") -> HTMLResponse:
    account = OwnAccount(request.app.state.engine).account(session.actor, utc_now())
    values = {
        "role": ROLES[session.actor.role.value],
        "known": account.known,
        "here": digest(request.cookies.get(cookie_name(request), "")),
        "recovery_codes": account.recovery_codes,
        "problem": problem,
        "done": request.query_params.get("done", ""),
    }
    return page(make_frame(request, session), "account.html", status=422 if problem else 200, **values)


def _set_up_page(request: Request, name: str, *, problem: str = "") -> HTMLResponse:
    return page(make_frame(request, None), "set_up.html", status=422 if problem else 200, name=name, problem=problem)
