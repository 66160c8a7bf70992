"""Every route of the program asked as a program does, for what must hold on all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import Message

from fleet_server.security_headers import SECURITY_HEADERS

# What may be kept says so itself: files whose address changes with their content.
KEPT = {"/static/{name:path}"}


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts(app.routes):
        for method in sorted(route.methods or ()):
            assert route.path is not None
            yield method, route.path


def scope_of(method: str, path: str, headers: dict[str, str], scheme: str = "http") -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in {"host": "a", **headers}.items()],
        "client": ("10.0.0.1", 1),
        "server": ("a", 80),
        "state": {},
    }


async def head_of(app: FastAPI, scope: dict[str, Any]) -> dict[str, str]:
    """The first message of the answer; event streams are left then."""
    begun: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    asked = asyncio.Event()

    async def receive() -> Message:
        if not asked.is_set():
            asked.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await begun
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start" and not begun.done():
            begun.set_result(message)

    asking = asyncio.ensure_future(app(scope, receive, send))
    waited: set[asyncio.Future[Any]] = {asking, begun}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert begun.done(), scope["path"]
    message = begun.result()
    headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
    return {**headers, ":status": str(message["status"])}


def assert_all_headers(answer: dict[str, str], path: str) -> None:
    for name, value in SECURITY_HEADERS.items():
        if name == "Cache-Control" and path in KEPT:
            continue
        assert answer.get(name.lower()) == value, (path, name, answer)
