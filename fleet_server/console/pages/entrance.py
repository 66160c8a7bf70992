"""Signing in and out, and the choice of language and theme."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.auth.accounts import Accounts
from fleet_server.auth.dependencies import (
    AuthServiceDep,
    ConsoleSessionDep,
    SameOrigin,
    check_csrf,
    clear_session_cookie,
    cookie_name,
    mark_browser,
    set_session_cookie,
)
from fleet_server.auth.sessions import ConsoleSession, Stage
from fleet_server.console.frame import DENSITY_COOKIE, THEME_COOKIE, THEMES, local_path, make_frame, page
from fleet_server.console.language import COOKIE, Language
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings

router = APIRouter(include_in_schema=False)
_YEAR_S = 365 * 86_400
_SYSTEM = "system"


@router.get("/sign-in")
def sign_in_page(request: Request, next: Annotated[str, "where to go afterwards"] = "/") -> HTMLResponse:  # noqa: A002 - the name in the address
    values = {"problem": "", "name": "", "next": local_path(next), "provider": _provider(request)}
    return page(make_frame(request, None), "sign_in.html", status=200, **values)


@router.post("/sign-in", dependencies=[SameOrigin])
def sign_in(
    request: Request,
    service: AuthServiceDep,
    name: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=256)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - the name in the form
) -> Response:
    now = utc_now()
    signed_in = service.sign_in(
        name,
        password,
        address=address_of(request),
        user_agent=request.headers.get("user-agent", ""),
        now=now,
        replaces=request.cookies.get(cookie_name(request)),
    )
    if signed_in is None:
        frame = make_frame(request, None)
        problem = frame.calendar.texts.gettext(
            "Name and password do not match. After ten wrong tries the name is locked for 30 minutes."
        )
        values = {"name": name, "next": local_path(next), "provider": _provider(request)}
        return page(frame, "sign_in.html", status=401, problem=problem, **values)
    response = RedirectResponse(after_password(signed_in.session.stage, local_path(next)), status_code=303)
    set_session_cookie(request, response, signed_in.secret, until=signed_in.until, now=now)
    if signed_in.session.stage is Stage.OPEN:
        remember_choices(response, signed_in.session)
        mark_browser(request, response, signed_in.session.actor, now)
    return response


def _provider(request: Request) -> str:
    """What the button of the OpenID provider says; empty without one."""
    settings: ServerSettings = request.app.state.settings
    return (settings.oidc_name or "OpenID") if settings.oidc_issuer else ""


def after_password(stage: Stage, wanted: str) -> str:
    match stage:
        case Stage.OPEN:
            return wanted
        case Stage.CODE:
            return f"/sign-in/code?next={quote(wanted, safe='/')}"
        case Stage.ENROL:
            return f"/second-factor?next={quote(wanted, safe='/')}"


@router.post("/sign-out")
def sign_out(request: Request, service: AuthServiceDep, _session: ConsoleSessionDep) -> Response:
    service.sign_out(request.cookies.get(cookie_name(request), ""), now=utc_now())
    response = RedirectResponse("/sign-in", status_code=303)
    clear_session_cookie(request, response)
    return response


@router.post("/preferences", dependencies=[SameOrigin])
def set_preferences(
    request: Request,
    service: AuthServiceDep,
    language: Annotated[str, Form(max_length=8)] = "",
    theme: Annotated[str, Form(max_length=8)] = "",
    density: Annotated[str, Form(max_length=8)] = "",
    csrf: Annotated[str, Form(max_length=64)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - the name in the form
) -> Response:
    """Remembered by the browser, and by the account when somebody is signed in. The page stays the same."""
    session = service.resolve(request.cookies.get(cookie_name(request), ""), utc_now())
    if session is not None:
        check_csrf(session, csrf)
    response = RedirectResponse(local_path(next), status_code=303)
    chosen_language = language if language in {one.tag for one in Language} else None
    chosen_theme = ("" if theme == _SYSTEM else theme) if theme in {_SYSTEM, *THEMES[1:]} else None
    if chosen_language is not None:
        _remember(response, COOKIE, chosen_language)
    if chosen_theme is not None:
        _set(response, THEME_COOKIE, chosen_theme)
    if density in {"roomy", "compact"}:
        _set(response, DENSITY_COOKIE, "roomy" if density == "roomy" else "")
    if session is not None and not session.actor.is_visiting:
        with transaction(request.app.state.engine, session.actor.reach) as opened:
            accounts = Accounts(opened, session.actor, utc_now())
            accounts.set_preferences(language=chosen_language, theme=chosen_theme)
    return response


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def remember_choices(response: Response, session: ConsoleSession) -> None:
    """The account's language and theme, for this browser."""
    _remember(response, COOKIE, session.language)
    _remember(response, THEME_COOKIE, session.theme)


def _remember(response: Response, name: str, value: str) -> None:
    if value:
        _set(response, name, value)


def _set(response: Response, name: str, value: str) -> None:
    response.set_cookie(name, value, max_age=_YEAR_S, path="/", samesite="lax", httponly=True)
