"""What follows the password: the code of the second factor, setting one up, and fresh proofs later."""

from typing import Annotated
from urllib.parse import quote

import segno
from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup

from fleet_server.auth.dependencies import (
    AuthServiceDep,
    ConsoleSessionDep,
    ProofsDep,
    cookie_name,
    mark_browser,
    session_setting_up,
    session_short_of_a_code,
    set_session_cookie,
)
from fleet_server.auth.errors import SignInNeeded, StepUpNeeded
from fleet_server.auth.proofs import Proofs
from fleet_server.auth.sessions import ConsoleSession, SignedIn, Stage
from fleet_server.console.frame import local_path, make_frame, page
from fleet_server.console.pages.entrance import address_of, remember_choices
from fleet_server.kit.times import utc_now

router = APIRouter(include_in_schema=False)

ShortOfACodeDep = Annotated[ConsoleSession, Depends(session_short_of_a_code)]
SettingUpDep = Annotated[ConsoleSession, Depends(session_setting_up)]
WantedQuery = Annotated[str, Query(alias="next", max_length=2000)]
WantedForm = Annotated[str, Form(alias="next", max_length=2000)]
CodeForm = Annotated[str, Form(max_length=64)]


@router.get("/sign-in/code")
def code_page(request: Request, session: ShortOfACodeDep, wanted: WantedQuery = "/") -> HTMLResponse:
    return _code_page(request, session, wanted)


@router.post("/sign-in/code")
def give_code(
    request: Request, service: ProofsDep, session: ShortOfACodeDep, code: CodeForm = "", wanted: WantedForm = "/"
) -> Response:
    secret, now = _secret(request), utc_now()
    opened = service.give_code(secret, code, address=address_of(request), now=now)
    if opened is not None:
        response = RedirectResponse(local_path(wanted), status_code=303)
        _let_in(request, response, opened)
        mark_browser(request, response, opened.session.actor, now)
        return response
    return _code_page(request, session, wanted, is_wrong=True)


@router.get("/step-up")
def step_up_page(request: Request, session: ConsoleSessionDep, wanted: WantedQuery = "/") -> HTMLResponse:
    return _step_up_page(request, session, wanted)


@router.post("/step-up")
def step_up(
    request: Request,
    door: AuthServiceDep,
    service: ProofsDep,
    session: ConsoleSessionDep,
    proof: Annotated[str, Form(max_length=256)] = "",
    wanted: WantedForm = "/",
) -> Response:
    secret, now = _secret(request), utc_now()
    renewed = service.step_up(secret, proof, address=address_of(request), now=now)
    if renewed is not None:
        response = RedirectResponse(local_path(wanted), status_code=303)
        set_session_cookie(request, response, renewed.secret, until=renewed.until, now=now)
        return response
    if door.resolve(secret, now) is None:
        # Too many wrong ones have ended it.
        raise SignInNeeded(local_path(wanted))
    return _step_up_page(request, session, wanted, is_wrong=True)


@router.get("/second-factor")
def second_factor_page(
    request: Request, service: ProofsDep, session: SettingUpDep, wanted: WantedQuery = "/"
) -> HTMLResponse:
    _need_fresh_proof(session, wanted)
    return _set_up_page(request, service, session, wanted)


@router.post("/second-factor/begin")
def begin_second_factor(
    request: Request, service: ProofsDep, session: SettingUpDep, wanted: WantedForm = "/"
) -> Response:
    _need_fresh_proof(session, wanted)
    service.begin_set_up(_secret(request), now=utc_now())
    return RedirectResponse(_set_up_address(wanted), status_code=303)


@router.post("/second-factor")
def confirm_second_factor(
    request: Request, service: ProofsDep, session: SettingUpDep, code: CodeForm = "", wanted: WantedForm = "/"
) -> Response:
    _need_fresh_proof(session, wanted)
    now = utc_now()
    done = service.confirm_set_up(_secret(request), code, address=address_of(request), now=now)
    if done is None:
        return _set_up_page(request, service, session, wanted, is_wrong=True)
    frame = make_frame(request, None)
    response = page(frame, "recovery_codes.html", codes=done.recovery_codes, next=local_path(wanted))
    _let_in(request, response, done.signed_in)
    mark_browser(request, response, done.signed_in.session.actor, now)
    return response


def _need_fresh_proof(session: ConsoleSession, wanted: str) -> None:
    """Whoever has an open session only, perhaps a stolen one, must not swap the second factor."""
    if session.stage is Stage.OPEN and not session.is_stepped_up(utc_now()):
        raise StepUpNeeded(_set_up_address(wanted))


def _set_up_address(wanted: str) -> str:
    return f"/second-factor?next={quote(local_path(wanted), safe='/')}"


def _let_in(request: Request, response: Response, opened: SignedIn) -> None:
    set_session_cookie(request, response, opened.secret, until=opened.until, now=utc_now())
    remember_choices(response, opened.session)


def _code_page(request: Request, session: ConsoleSession, wanted: str, *, is_wrong: bool = False) -> HTMLResponse:
    values = {"csrf": session.csrf, "is_wrong": is_wrong, "next": local_path(wanted)}
    return page(make_frame(request, None), "sign_in_code.html", status=401 if is_wrong else 200, **values)


def _step_up_page(request: Request, session: ConsoleSession, wanted: str, *, is_wrong: bool = False) -> HTMLResponse:
    values = {"by_code": session.has_second_factor, "is_wrong": is_wrong, "next": local_path(wanted)}
    return page(make_frame(request, session), "step_up.html", status=401 if is_wrong else 200, **values)


def _set_up_page(
    request: Request, service: Proofs, session: ConsoleSession, wanted: str, *, is_wrong: bool = False
) -> HTMLResponse:
    begun = service.begun_set_up(_secret(request), utc_now())
    values = {
        "csrf": session.csrf,
        "must": session.stage is Stage.ENROL,
        "replaces": session.has_second_factor,
        "picture": Markup(segno.make(begun.address, error="m").svg_inline(scale=5, light="#fff")) if begun else "",  # noqa: S704 - drawn by the library from numbers
        "groups": [begun.secret[at : at + 4] for at in range(0, len(begun.secret), 4)] if begun else [],
        "is_wrong": is_wrong,
        "next": local_path(wanted),
    }
    return page(make_frame(request, None), "second_factor.html", status=401 if is_wrong else 200, **values)


def _secret(request: Request) -> str:
    return request.cookies.get(cookie_name(request), "")
