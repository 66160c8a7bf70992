"""Who is signed in at the approval page, and that a request comes from that page alone.

A session here is no cookie: the page keeps its secret in memory and sends it in a header, so that nothing goes along
with a request of another origin, also of another port of the same host. The secret carries a mark of this process:
a session that was opened at the console opens nothing here, whoever has read it there.

Invariant: an unsafe request is answered only with this origin in ``Origin`` and this host in ``Host``.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from fleet_server.auth.dependencies import AuthServiceDep, require
from fleet_server.auth.errors import NotSignedIn, RequestForged, StepUpNeeded
from fleet_server.auth.roles import Permission
from fleet_server.auth.sessions import OPEN_ONLY, ConsoleSession, SignedIn, Stage
from fleet_server.kit.times import utc_now

HEADER = "X-Approval-Session"
_MAX_CHARS = 200
_SAFE_METHODS = frozenset({"GET", "HEAD"})


class Marks:
    """Sessions of one process: after its next start everybody signs in anew."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def mark(self, secret: str) -> str:
        return f"{secret}.{self._of(secret)}"

    def secret(self, marked: str) -> str | None:
        secret, _, mark = marked.partition(".")
        return secret if hmac.compare_digest(self._of(secret).encode(), mark.encode()) else None

    def _of(self, secret: str) -> str:
        return hmac.new(self._key, secret.encode(), hashlib.sha256).hexdigest()


def own_origin_only(request: Request) -> None:
    """``Host`` too: a foreign name that was made to lead to this address is another origin to the browser."""
    wanted = urlsplit(request.app.state.settings.approval_url)
    if request.headers.get("host", "") != wanted.netloc:
        raise RequestForged(f"expected this page under {wanted.netloc}, asked for it under another name")
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"} and not _is_opened(request):
        raise RequestForged("this request came from another site")
    if request.method not in _SAFE_METHODS and request.headers.get("origin") != f"{wanted.scheme}://{wanted.netloc}":
        raise RequestForged("expected a request of this page, came one of another site or program")


def _is_opened(request: Request) -> bool:
    """A link from the console opens the page in a window of its own; nothing else of another site gets an answer."""
    is_document = request.headers.get("sec-fetch-dest") == "document"
    return request.method == "GET" and request.url.path == "/" and is_document


def marks(request: Request) -> Marks:
    made: Marks = request.app.state.marks
    return made


MarksDep = Annotated[Marks, Depends(marks)]


def sent_secret(request: Request, known: MarksDep) -> str:
    sent = request.headers.get(HEADER, "")
    secret = known.secret(sent) if sent.isascii() and len(sent) <= _MAX_CHARS else None
    if secret is None:
        raise NotSignedIn("sign in at this page")
    return secret


SecretDep = Annotated[str, Depends(sent_secret)]


def approver_session(request: Request, secret: SecretDep, service: AuthServiceDep) -> ConsoleSession:
    """Of whoever may see what waits."""
    session = service.resolve(secret, utc_now(), OPEN_ONLY)
    if session is None:
        raise NotSignedIn("sign in at this page")
    request.state.reach = session.actor.reach
    require(session.actor, Permission.APPROVALS_READ)
    return session


ApproverSessionDep = Annotated[ConsoleSession, Depends(approver_session)]


def deciding_session(session: ApproverSessionDep) -> ConsoleSession:
    """Of whoever may decide, and has just shown who it is."""
    require(session.actor, Permission.APPROVALS_DECIDE)
    if not session.is_stepped_up(utc_now()):
        raise StepUpNeeded("/")
    return session


DecidingSessionDep = Annotated[ConsoleSession, Depends(deciding_session)]


def opened(signed_in: SignedIn | None) -> SignedIn:
    """What the doors of signing in answered. Whoever has no second factor yet sets it up at the console."""
    if signed_in is None:
        raise NotSignedIn("name, password or code is wrong, or the name is locked for half an hour")
    if signed_in.session.stage is Stage.ENROL:
        raise NotSignedIn("set up a second factor in the console first")
    return signed_in
