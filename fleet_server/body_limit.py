"""A bound on what a request may bring: nobody is known yet when its body is read.

Nothing that is asked for over HTTP is larger than a form; fleets and backups come from files on the server itself.
"""

from __future__ import annotations

from contextlib import suppress

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1_048_576
_TOO_LARGE = f"expected a body of at most {MAX_BODY_BYTES} bytes"


class _Gone(BaseException):
    """Who sent the request left in the middle of it. No mistake that anybody is told of: for a thousand at once, a page
    each, others would wait for seconds.
    """


class BodyLimit:
    """A pure ASGI layer. Refuses by the declared length, else as soon as more has come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
            answer = JSONResponse({"code": "too_large", "detail": _TOO_LARGE}, 413, {"Connection": "close"})
            await answer(scope, receive, send)
            return
        came_bytes, is_whole = 0, False

        async def bounded() -> Message:
            nonlocal came_bytes, is_whole
            message = await receive()
            if message["type"] == "http.disconnect" and not is_whole:
                raise _Gone
            is_whole = is_whole or not message.get("more_body", False)
            came_bytes += len(message.get("body", b""))
            if came_bytes > MAX_BODY_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        with suppress(_Gone):
            await self._app(scope, bounded, send)
