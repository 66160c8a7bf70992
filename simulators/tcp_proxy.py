"""A network that can be bad: a TCP relay with delay, slowness, silence, refusal and cuts, usable without root.

It stands between a client and a server on one machine. Invariants: bytes are never reordered or changed; a blackhole
swallows bytes and tells nobody, as a dead radio link does; faults act on present and future connections at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from dataclasses import dataclass, replace
from typing import Any

_CHUNK_BYTES = 16 * 1024
# SO_LINGER on, for no time: closing sends a reset instead of a polite end.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class NetworkFaults:
    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float | None = None
    blackhole: bool = False
    refuse: bool = False
    cut_after_bytes: int | None = None


class TcpProxy:
    """Relays ``address`` to ``target`` in a thread of its own."""

    def __init__(self, target: tuple[str, int], *, seed: int = 0, port: int = 0) -> None:
        self._target = target
        self._wanted_port = port
        self._random = random.Random(seed)
        self._faults = NetworkFaults()
        self._reachable = asyncio.Event()
        self._reachable.set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._run(self._open())

    def stop(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def port(self) -> int:
        if self._server is None:
            return 0
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def faults(self) -> NetworkFaults:
        return self._faults

    def set_faults(self, **changes: Any) -> None:
        """Fields of `NetworkFaults`; connections that a blackhole has starved are reset when it ends."""
        before, self._faults = self._faults, replace(self._faults, **changes)
        change = self._reachable.clear if self._faults.blackhole else self._reachable.set
        self._loop.call_soon_threadsafe(change)
        if before.blackhole and not self._faults.blackhole:
            self.reset_connections()

    def heal(self) -> None:
        self.set_faults(**{name: getattr(NetworkFaults(), name) for name in NetworkFaults.__slots__})

    def reset_connections(self) -> None:
        self._loop.call_soon_threadsafe(self._abort_all)

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            if (near := writer.get_extra_info("socket")) is not None:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._wanted_port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._abort_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            if self._faults.refuse:
                return
            await self._reachable.wait()  # in a blackhole the call rings and nobody answers
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._writers.add(far_writer)
            try:
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            finally:
                self._hang_up(far_writer)
        except OSError:
            pass  # the other side is gone: hanging up tells the caller
        finally:
            self._hang_up(writer)

    def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carried = 0
        while data := await reader.read(_CHUNK_BYTES):
            faults = self._faults
            if faults.blackhole:
                continue
            if wait_s := faults.delay_s + faults.jitter_s * self._random.random():
                await asyncio.sleep(wait_s)
            if faults.bytes_per_s:
                await asyncio.sleep(len(data) / faults.bytes_per_s)
            left = None if faults.cut_after_bytes is None else max(0, faults.cut_after_bytes - carried)
            writer.write(data[:left])
            await writer.drain()
            carried += len(data)
            if left is not None and carried >= (faults.cut_after_bytes or 0):
                raise ConnectionResetError("cut after so many bytes, as asked")
        with contextlib.suppress(OSError):
            writer.write_eof()
