"""Serves a simulated terminal's calls on a Unix socket: one thread, one selector, JSON lines.

While the terminal is down there is no socket at all: its file is gone, open connections are closed. A connection that
sends nonsense gets a refusal for each line and stays; one that never reads its answers is closed.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.drivers.terminal import wire
from simulators.terminal_calls import CallRefused
from simulators.terminal_software import PowerCut

if TYPE_CHECKING:
    from simulators.terminal import SimulatedTerminal

MAX_CONNECTIONS = 16
_READ_BYTES = 16_384
# How often the terminal's own life goes on, and how soon a reboot's end is noticed.
_TICK_S = 0.25
_SEND_TIMEOUT_S = 2.0


def reply_to(terminal: SimulatedTerminal, event: wire.Request | wire.LineNoise) -> bytes:
    if isinstance(event, wire.LineNoise):
        return wire.encode_refusal(0, "not_understood", event.reason)
    try:
        return wire.encode_answer(event.id, terminal.call(event.call, event.args))
    except CallRefused as refusal:
        return wire.encode_refusal(event.id, refusal.code, str(refusal))


class TerminalService:
    def __init__(self, terminal: SimulatedTerminal, path: Path) -> None:
        self._terminal = terminal
        self._path = path
        self._selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._readers: dict[socket.socket, wire.MessageReader[wire.Request]] = {}
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"terminal-{path.name}", daemon=True)
        self._waker, self._wakes = socket.socketpair()

    def start(self) -> None:
        self._selector.register(self._wakes, selectors.EVENT_READ)
        self._open()
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping.set()
        if self._thread.is_alive():
            self._waker.send(b"x")
            self._thread.join(timeout=5)
        self._close()
        self._selector.close()
        self._waker.close()
        self._wakes.close()

    def _serve(self) -> None:
        while not self._is_stopping.is_set():
            ready = self._selector.select(_TICK_S)
            if self._terminal.is_down():
                self._close()
                continue
            if self._listener is None:
                self._open()
            for key, _ in ready:
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._readers:
                    self._talk(key.fileobj)
            self._terminal.tick()

    def _open(self) -> None:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        os.chmod(self._path, 0o600)  # noqa: PTH101 - the socket file itself, at once after bind
        listener.listen(MAX_CONNECTIONS)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._listener = listener

    def _close(self) -> None:
        for connection in tuple(self._readers):
            self._drop(connection)
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        if self._listener is None:
            return
        with suppress(BlockingIOError):
            connection, _ = self._listener.accept()
            if len(self._readers) >= MAX_CONNECTIONS:
                connection.close()
                return
            connection.settimeout(_SEND_TIMEOUT_S)
            self._selector.register(connection, selectors.EVENT_READ)
            self._readers[connection] = wire.request_reader()

    def _talk(self, connection: socket.socket) -> None:
        try:
            chunk = connection.recv(_READ_BYTES)
            if not chunk:
                self._drop(connection)
                return
            for event in self._readers[connection].feed(chunk):
                try:
                    reply = reply_to(self._terminal, event)
                except PowerCut:
                    return
                connection.sendall(reply)
                if self._terminal.is_down():
                    return
        except OSError:
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._readers.pop(connection, None)
        self._selector.unregister(connection)
        connection.close()
