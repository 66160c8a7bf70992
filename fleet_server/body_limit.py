"""A bound on what a request may bring: nobody is known yet when its body is read.

Nothing that is asked for over HTTP is larger than a form; fleets and backups come from files on the server itself.
"""

from __future__ import annotations

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1_048_576
_TOO_LARGE = f"expected a body of at most {MAX_BODY_BYTES} bytes"


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
        came_bytes = 0

        async def bounded() -> Message:
            nonlocal came_bytes
            message = await receive()
            came_bytes += len(message.get("body", b""))
            if came_bytes > MAX_BODY_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, bounded, send)
