"""The HTTP server of the API process: uvicorn, that ends open event streams as soon as it is told to stop.

By itself it would wait for them until its patience is over, and then cut them with a traceback each.
"""

from __future__ import annotations

import asyncio
import socket
from types import FrameType
from typing import Protocol

import uvicorn


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
