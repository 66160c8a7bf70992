"""The HTTP server of the API process: uvicorn, that ends open event streams as soon as it is told to stop.

By itself it would wait for them until its patience is over, and then cut them with a traceback each. It would also
wait for ever for clients that say nothing: `server_config` gives each connection a protocol with deadlines and one of a
bounded number of places, and TLS handshakes a deadline of their own (`HandshakeLoop`).
"""

from __future__ import annotations

import asyncio
import socket
from types import FrameType
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from fleet_server.connections import ConnectionLimits, Connections, within_open_files
from fleet_server.http_protocol import Deadlines, protocol_with
from fleet_server.settings import ServerSettings


class Stoppable(Protocol):
    """A hub: its streams end when it stops."""

    async def stop(self) -> None: ...


class StreamingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *hubs: Stoppable) -> None:
        super().__init__(config)
        self._hubs = hubs
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._end_streams()
        super().handle_exit(sig, frame)

    def end(self) -> None:
        """From any thread: as if told to stop, but the process goes on."""
        self._end_streams()
        self.should_exit = True

    def _end_streams(self) -> None:
        if self._loop is not None and self._loop.is_running():
            for hub in self._hubs:
                asyncio.run_coroutine_threadsafe(hub.stop(), self._loop)


class HandshakeLoop(asyncio.SelectorEventLoop):
    """Half-open TLS connections are not the protocol's yet; asyncio would wait for them for a minute."""

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", Deadlines().headers_s)
        return await super().create_server(*args, **options)


def server_config(app: ASGIApp, settings: ServerSettings, deadlines: Deadlines | None = None) -> uvicorn.Config:
    limits = ConnectionLimits(settings.http_connections, settings.http_connections_per_address, settings.proxies)
    protocol = protocol_with(deadlines or Deadlines(), Connections(within_open_files(limits)))
    tls: dict[str, Any] = {}
    if settings.url.startswith("https:"):
        tls = {
            "ssl_certfile": str(settings.tls_dir / "http.crt"),
            "ssl_keyfile": str(settings.tls_dir / "http.key"),
        }
    return uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        http=protocol,
        ws="none",
        loop="fleet_server.http_server:HandshakeLoop",
        access_log=False,
        log_level="warning",
        server_header=False,
        forwarded_allow_ips=sorted(settings.proxies),
        timeout_graceful_shutdown=2,
        **tls,
    )
