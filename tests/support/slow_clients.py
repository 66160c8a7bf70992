"""Clients that hold connections and never finish: a byte now and then, and a new connection for each that was ended.

One thread keeps them all. They come from addresses of loopback, so that a limit of one address does not end them all.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from itertools import count

BEGIN = b"POST /sign-in HTTP/1.1\r\nHost: console.example\r\nContent-Type: application/x-www-form-urlencoded\r\n"
_EVERY_S = 1.0


class Slowness(Enum):
    HEADERS = "headers"
    BODY = "body"
    SILENCE = "silence"


class SlowClients:
    def __init__(self, port: int, many: int, slowness: Slowness, addresses: int, tls: ssl.SSLContext | None) -> None:
        self._port, self._many, self._slowness, self._addresses, self._tls = port, many, slowness, addresses, tls
        self._links: set[socket.socket] = set()
        self._numbers = count()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="slow clients")
        self.made = 0
        self.most_held = 0

    @property
    def held(self) -> int:
        return len(self._links)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        self._thread.join()
        for link in self._links:
            link.close()

    def _keep(self) -> None:
        while not self._ends.is_set():
            began_s = time.monotonic()
            while len(self._links) < self._many and time.monotonic() - began_s < _EVERY_S:
                if (link := self._connect()) is not None:
                    self._links.add(link)
            self.most_held = max(self.most_held, len(self._links))
            self._drop_ended()
            for link in list(self._links):
                self._say_a_little(link)
            self._ends.wait(max(0.0, _EVERY_S - (time.monotonic() - began_s)))

    def _connect(self) -> socket.socket | None:
        source = f"127.1.0.{next(self._numbers) % self._addresses + 1}"
        with suppress(OSError):
            link = socket.create_connection(("127.0.0.1", self._port), timeout=2, source_address=(source, 0))
            try:
                if self._tls is not None and self._slowness is not Slowness.SILENCE:
                    link = self._tls.wrap_socket(link, server_hostname="localhost")
                if self._slowness is Slowness.HEADERS:
                    link.sendall(BEGIN)
                elif self._slowness is Slowness.BODY:
                    link.sendall(BEGIN + b"Content-Length: 1000\r\n\r\n")
                link.setblocking(False)
            except OSError:
                link.close()
                raise
            self.made += 1
            return link
        return None

    def _drop_ended(self) -> None:
        with selectors.DefaultSelector() as selector:
            for link in self._links:
                selector.register(link, selectors.EVENT_READ)
            for key, _ in selector.select(0):
                ended = key.fileobj
                assert isinstance(ended, socket.socket)
                try:
                    is_over = ended.recv(65_536) == b""
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue
                except OSError:
                    is_over = True
                if is_over:
                    self._links.discard(ended)
                    ended.close()

    def _say_a_little(self, link: socket.socket) -> None:
        said = {Slowness.HEADERS: b"X-A: b\r\n", Slowness.BODY: b"a", Slowness.SILENCE: b""}[self._slowness]
        try:
            if said:
                link.send(said)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._links.discard(link)
            link.close()


@contextmanager
def slow_clients(
    port: int, many: int, slowness: Slowness, *, addresses: int = 50, tls: ssl.SSLContext | None = None
) -> Iterator[SlowClients]:
    clients = SlowClients(port, many, slowness, addresses, tls)
    clients.start()
    try:
        yield clients
    finally:
        clients.stop()
