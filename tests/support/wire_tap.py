"""Reads what goes between a device and its broker: a relay on loopback that ends TLS and keeps the bytes."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.broker import Broker

_CHUNK_BYTES = 64 * 1024


class WireTap:
    """``port`` stands for the broker's; ``heard``: both directions, each as one stream of MQTT bytes."""

    def __init__(self, broker: Broker, link: str) -> None:
        self.heard = {"up": bytearray(), "down": bytearray()}
        self.port = 0
        self._target = (broker.host, broker.port)
        self._to_broker = broker.link(link).context()
        files = broker.service("broker")
        self._as_broker = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._as_broker.load_cert_chain(files.certificate, files.key)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire-tap", daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(20)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0, ssl=self._as_broker)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target, ssl=self._to_broker)
            writers.append(far_writer)
            await asyncio.gather(
                self._copy(reader, far_writer, self.heard["up"]), self._copy(far_reader, writer, self.heard["down"])
            )
        except OSError:
            pass  # no broker: hanging up tells the device
        finally:
            for one in writers:
                one.transport.abort()
            # Sockets are closed in the loop's next turns, which there have to be.
            await asyncio.gather(*(one.wait_closed() for one in writers), return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                kept += chunk
                writer.write(chunk)
                await writer.drain()
        writer.close()


@contextmanager
def tapped(broker: Broker, link: str) -> Iterator[WireTap]:
    tap = WireTap(broker, link)
    tap.start()
    try:
        yield tap
    finally:
        tap.stop()
