"""The door of HTTP: who asks, and whether they may. Programs bring a bearer token, people a session cookie.

Every console route that takes `ConsoleSessionDep` is guarded against forged requests: an unsafe method must carry the
session's token (header ``X-CSRF-Token`` or form field ``csrf``), and an ``Origin`` header must be ours.
"""

import hmac
import html
import time
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from fleet_server.auth.accounts import MAX_TOKEN_CHARS, find_token_actor, token_digest
from fleet_server.auth.browsers import BROWSER_KEPT, mark
from fleet_server.auth.errors import NotSignedIn, RequestForged, RoleTooLow, SignInNeeded
from fleet_server.auth.limits import SignInLimits
from fleet_server.auth.own_password import OwnPassword
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.proofs import SETTING_UP, Proofs
from fleet_server.auth.roles import Actor, Permission
from fleet_server.auth.second_factor import SecondFactors
from fleet_server.auth.service import AuthService, Doorkeeping
from fleet_server.auth.sessions import OPEN_ONLY, ConsoleSession, Stage, Uses, digest
from fleet_server.auth.stays import By, Stay, Stays
from fleet_server.auth.token_cache import TokenCache
from fleet_server.db import reading
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings

T = TypeVar("T")
# Of `secrets.token_urlsafe(32)`.
_MARK_CHARS = 43
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# A strict cookie is not sent when another site, such as a telephone system in the browser, leads here. Asked for again
# by a page of our own, it is.
_KNOCK_AGAIN = (
    '<!doctype html><meta charset="utf-8"><title>Tillmedic</title><meta http-equiv="refresh" content="0; url={}">'
)


def passwords() -> Passwords:
    """Tests override it by `Passwords.cheap`."""
    return Passwords.standard()


def doorkeeping(request: Request, hasher: Annotated[Passwords, Depends(passwords)]) -> Doorkeeping:
    state = request.app.state
    if not hasattr(state, "session_uses"):
        state.session_uses, state.sign_in_limits = Uses(), SignInLimits()
    settings: ServerSettings = state.settings
    factors = SecondFactors(settings.people_key, is_required=not settings.sign_in_without_second_factor)
    brought = brought_mark(request)
    browser = digest(brought) if brought else ""
    return Doorkeeping(
        state.engine, settings.tenant, hasher, factors, state.session_uses, state.sign_in_limits, browser
    )


DoorkeepingDep = Annotated[Doorkeeping, Depends(doorkeeping)]


def auth_service(door: DoorkeepingDep) -> AuthService:
    return AuthService(door)


def proofs(door: DoorkeepingDep) -> Proofs:
    return Proofs(door)


def own_password(door: DoorkeepingDep) -> OwnPassword:
    return OwnPassword(door)


AuthServiceDep = Annotated[AuthService, Depends(auth_service)]
ProofsDep = Annotated[Proofs, Depends(proofs)]
OwnPasswordDep = Annotated[OwnPassword, Depends(own_password)]


async def api_actor(request: Request) -> Actor:
    """Who holds the bearer token. A token that was seen lately costs no thread and no query."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise NotSignedIn("expected the header 'Authorization: Bearer TOKEN'")
    if len(token) > MAX_TOKEN_CHARS:
        raise NotSignedIn("this token is unknown, expired or revoked")
    cache, digest = _token_cache(request), token_digest(token)
    actor = cache.get(digest, time.monotonic())
    if actor is None:
        actor = await run_in_threadpool(_holder, request.app.state.engine, token)
        if actor is None:
            raise NotSignedIn("this token is unknown, expired or revoked")
        cache.put(digest, actor, time.monotonic())
    request.state.reach = actor.reach
    request.state.stay = Stay(By.TOKEN, actor.id)
    return actor


def _holder(engine: Engine, token: str) -> Actor | None:
    with reading(engine) as session:
        return find_token_actor(session, token, utc_now())


ActorDep = Annotated[Actor, Depends(api_actor)]


def require(actor: Actor, permission: Permission) -> Actor:
    if not actor.may(permission):
        raise RoleTooLow(permission, actor)
    return actor


async def _sent_csrf(request: Request) -> str:
    if request.method in _SAFE_METHODS:
        return ""
    header = request.headers.get("x-csrf-token")
    if header is not None:
        return header
    # Uploaded files are closed by this: a form that uploads sends the header.
    async with request.form() as form:
        field = form.get("csrf", "")
    return "" if isinstance(field, UploadFile) else field


def same_origin(request: Request) -> None:
    """For unsafe requests without a session yet, such as the sign-in form. Browsers state where a form came from, by
    one header or by the other; a program that states nothing has no cookie that somebody else could ride on.
    """
    if request.method in _SAFE_METHODS:
        return
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc not in own_hosts(request):
        raise RequestForged("this request came from another site")
    if request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        raise RequestForged("this request came from another site")


def own_hosts(request: Request) -> frozenset[str]:
    """Names under which this console is open. Schemes are not compared: behind a proxy that ends TLS ours is http."""
    return frozenset({request.headers.get("host", ""), urlsplit(request.app.state.settings.url).netloc} - {""})


SameOrigin = Depends(same_origin)


def console_session(
    request: Request, service: AuthServiceDep, csrf: Annotated[str, Depends(_sent_csrf)]
) -> ConsoleSession:
    return _guarded(request, service, csrf, OPEN_ONLY)


ConsoleSessionDep = Annotated[ConsoleSession, Depends(console_session)]


def session_short_of_a_code(
    request: Request, service: AuthServiceDep, csrf: Annotated[str, Depends(_sent_csrf)]
) -> ConsoleSession:
    return _guarded(request, service, csrf, {Stage.CODE})


def session_setting_up(
    request: Request, service: AuthServiceDep, csrf: Annotated[str, Depends(_sent_csrf)]
) -> ConsoleSession:
    """Of somebody who has to set up a second factor before anything else, or who is signed in and wants to."""
    return _guarded(request, service, csrf, SETTING_UP)


def _guarded(request: Request, service: AuthService, csrf: str, stages: AbstractSet[Stage]) -> ConsoleSession:
    secret = request.cookies.get(cookie_name(request), "")
    session = service.resolve(secret, utc_now(), stages) if secret else None
    if session is None:
        raise SignInNeeded(_wanted_page(request))
    if request.method not in _SAFE_METHODS:
        same_origin(request)
        check_csrf(session, csrf)
    request.state.reach = session.actor.reach
    request.state.stay = Stay(By.SESSION, digest(secret))
    return session


def check_csrf(session: ConsoleSession, sent: str) -> None:
    if not hmac.compare_digest(sent.encode(), session.csrf.encode()):
        raise RequestForged("this form is from an earlier session: load the page again")


def console_actor(session: ConsoleSessionDep) -> Actor:
    return session.actor


ConsoleActorDep = Annotated[Actor, Depends(console_actor)]


def console_needs(permission: Permission) -> Any:
    """For a page: ``@router.get("/audit", dependencies=[console_needs(Permission.AUDIT_READ)])``."""

    def allowed(session: ConsoleSessionDep) -> Actor:
        return require(session.actor, permission)

    return Depends(allowed)


def while_let_in(request: Request, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """A stream that ends within seconds when its token or session does, or its person or tenant is shut out."""
    stays: Stays = request.app.state.stays
    return stays.while_let_in(request.state.stay, items)


def lead_to_sign_in(request: Request, error: Exception) -> Response:
    """The handler of `SignInNeeded`: ``app.add_exception_handler(SignInNeeded, lead_to_sign_in)``."""
    wanted = error.wanted if isinstance(error, SignInNeeded) else "/"
    if request.headers.get("sec-fetch-site") == "cross-site" and request.method == "GET":
        return HTMLResponse(knock_again(wanted), headers={"Cache-Control": "no-store"})
    target = f"/sign-in?next={quote(wanted, safe='/')}"
    if request.headers.get("hx-request") == "true":
        # A redirect would put the sign-in page into a fragment of the present one.
        return Response(status_code=401, headers={"HX-Redirect": target})
    return Response(status_code=303, headers={"Location": target, "Cache-Control": "no-store"})


def knock_again(wanted: str) -> str:
    """A page of our own that asks for ``wanted``, so that the strict cookie is sent."""
    return _KNOCK_AGAIN.format(html.escape(wanted))


def cookie_name(request: Request) -> str:
    """``__Host-`` needs https; plain http is served on loopback only."""
    return "__Host-tillmedic" if is_https(request) else "tillmedic"


def set_session_cookie(request: Request, response: Response, secret: str, *, until: datetime, now: datetime) -> None:
    response.set_cookie(
        cookie_name(request),
        secret,
        max_age=int((until - now).total_seconds()),
        path="/",
        secure=is_https(request),
        httponly=True,
        samesite="strict",
    )


def brought_mark(request: Request) -> str:
    """Of this browser (`fleet_server.auth.browsers`); empty when it has none, or something that is none."""
    brought = request.cookies.get(mark_cookie_name(request), "")
    return brought if len(brought) == _MARK_CHARS and brought.isascii() else ""


def mark_cookie_name(request: Request) -> str:
    return f"{cookie_name(request)}-known"


def mark_browser(request: Request, response: Response, actor: Actor, now: datetime) -> None:
    """For who has just signed in with all that is asked for."""
    secret = mark(request.app.state.engine, actor, brought_mark(request), now)
    response.set_cookie(
        mark_cookie_name(request),
        secret,
        max_age=int(BROWSER_KEPT.total_seconds()),
        path="/",
        secure=is_https(request),
        httponly=True,
        samesite="strict",
    )


def clear_session_cookie(request: Request, response: Response) -> None:
    response.delete_cookie(cookie_name(request), path="/", secure=is_https(request), httponly=True, samesite="strict")


def is_https(request: Request) -> bool:
    url: str = request.app.state.settings.url
    return url.startswith("https:")


def _wanted_page(request: Request) -> str:
    if request.method != "GET":
        return "/"
    # "//host" would lead to another site. The path is percent-encoded as it came.
    return "/" + request.url.path.lstrip("/") + (f"?{request.url.query}" if request.url.query else "")


def _token_cache(request: Request) -> TokenCache:
    state = request.app.state
    if not hasattr(state, "token_cache"):
        state.token_cache = TokenCache()
    cache: TokenCache = state.token_cache
    return cache
