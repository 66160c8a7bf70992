"""The way to the customer's OpenID provider and back."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.auth.dependencies import cookie_name, knock_again, mark_browser, set_session_cookie
from fleet_server.auth.errors import OidcRefused
from fleet_server.auth.oidc_door import (
    OidcSignInDep,
    clear_question_cookie,
    question_cookie_name,
    set_question_cookie,
)
from fleet_server.auth.oidc_sign_in import CameBack
from fleet_server.auth.sessions import Place, Stage
from fleet_server.console.frame import local_path
from fleet_server.console.pages.entrance import address_of, after_password, remember_choices
from fleet_server.kit.times import utc_now

router = APIRouter(include_in_schema=False)


@router.get("/sign-in/oidc")
def ask(
    request: Request, service: OidcSignInDep, wanted: Annotated[str, Query(alias="next", max_length=2000)] = "/"
) -> Response:
    asked = service.ask(local_path(wanted), utc_now())
    response = RedirectResponse(asked.address, status_code=303, headers={"Cache-Control": "no-store"})
    set_question_cookie(request, response, asked.secret)
    return response


@router.get("/sign-in/oidc/back")
def come_back(
    request: Request,
    service: OidcSignInDep,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=4000)] = "",
    iss: Annotated[str, Query(max_length=400)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    if error or not code:
        raise OidcRefused(f"the OpenID provider sent nobody: {error[:60]!r}")
    now = utc_now()
    place = Place(address_of(request), request.headers.get("user-agent", ""))
    secret = request.cookies.get(question_cookie_name(request), "")
    replaces = request.cookies.get(cookie_name(request))
    opened, wanted = service.answer(secret, CameBack(state, code, iss), place=place, now=now, replaces=replaces)
    # A page of our own goes on: a strict cookie is not sent along with what another site led to.
    response = HTMLResponse(
        knock_again(after_password(opened.session.stage, local_path(wanted))), headers={"Cache-Control": "no-store"}
    )
    set_session_cookie(request, response, opened.secret, until=opened.until, now=now)
    clear_question_cookie(request, response)
    if opened.session.stage is Stage.OPEN:
        remember_choices(response, opened.session)
        mark_browser(request, response, opened.session.actor, now)
    return response
