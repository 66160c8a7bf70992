"""Headers that every answer of this program carries: no script, style, frame or form but our own, nothing kept.

A pure ASGI layer around all others, those of the framework for its own mistakes included, so that no answer is without;
event streams pass through unbuffered. What the HTTP server says itself (`fleet_server.http_protocol`) has them too.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), serial=()",
    # Every page shows names of merchants or people; what may be kept says so itself.
    "Cache-Control": "no-store",
}
# Two years, as browsers' own lists ask for; without subdomains: they may not be ours.
STRICT_TRANSPORT = "max-age=63072000"


class SecurityHeaders:
    """``content_policy``: of a program whose pages need less than the console."""

    def __init__(self, app: ASGIApp, content_policy: str = CONTENT_SECURITY_POLICY) -> None:
        self._app = app
        self._headers = SECURITY_HEADERS | {"Content-Security-Policy": content_policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if headers.get("content-type", "").startswith("text/event-stream"):
                    # The framework only asks to look again.
                    headers["Cache-Control"] = SECURITY_HEADERS["Cache-Control"]
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT)
            await send(message)

        await self._app(scope, receive, send if scope["type"] != "http" else send_with_headers)
