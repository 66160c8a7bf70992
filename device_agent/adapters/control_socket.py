"""Where the local command line asks the running agent: a Unix socket of mode 0600 in the state folder, JSON lines.

One request a connection, one or more answers, the last with ``done``. Bounds: `MAX_CLIENTS` at once, a request of at
most `MAX_REQUEST_BYTES`, `REQUEST_TIMEOUT_S` to send it. The agent listens on nothing that a network can reach.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from device_agent.errors import AgentError

MAX_CLIENTS: Final = 8
MAX_REQUEST_BYTES: Final = 16 * 1024
REQUEST_TIMEOUT_S: Final = 5.0
# A check that was asked for here answers within its own declared time.
ANSWER_TIMEOUT_S: Final = 300.0

_log = logging.getLogger(__name__)

Answer = dict[str, Any]
Reply = Callable[[Answer], None]


class AgentNotRunning(AgentError):
    code = "agent_not_running"


class ControlSocket:
    """``ask`` gets each request with a function for its answers, from a thread of its own."""

    def __init__(self, path: Path, ask: Callable[[Answer, Reply], None]) -> None:
        self._path = path
        self._ask = ask
        self._listener: socket.socket | None = None
        self._places = threading.Semaphore(MAX_CLIENTS)
        self.turned_away = 0

    def start(self) -> None:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The mask, not a later chmod: between the two somebody else could connect.
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(before)
        listener.listen(MAX_CLIENTS)
        self._listener = listener
        threading.Thread(target=self._serve, args=(listener,), name="control", daemon=True).start()

    def stop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            # Shutdown wakes the accepting thread; close alone does not.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            self._path.unlink(missing_ok=True)

    def _serve(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if not self._places.acquire(blocking=False):
                self.turned_away += 1
                connection.close()
                continue
            threading.Thread(target=self._talk, args=(connection,), name="control-client", daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        finished = threading.Event()

        def reply(answer: Answer) -> None:
            try:
                connection.sendall(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
            except OSError:
                finished.set()
            if answer.get("done"):
                finished.set()

        try:
            connection.settimeout(REQUEST_TIMEOUT_S)
            request = _request(connection)
            if request is None:
                reply({"done": True, "error": "request_malformed", "detail": "expected one line with a JSON object"})
            else:
                self._ask(request, reply)
                finished.wait(ANSWER_TIMEOUT_S)
        finally:
            connection.close()
            self._places.release()


def _request(connection: socket.socket) -> Answer | None:
    received = b""
    try:
        while not received.endswith(b"\n") and len(received) <= MAX_REQUEST_BYTES:
            part = connection.recv(4096)
            if not part:
                break
            received += part
        request = json.loads(received)
    except (OSError, ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


def ask(path: Path, request: Answer) -> Iterator[Answer]:
    """The answers of the agent that runs on ``path``; raises AgentNotRunning when there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(ANSWER_TIMEOUT_S)
    with connection:
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    answer: Answer = json.loads(line)
                    yield answer
                    if answer.get("done"):
                        return
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise AgentNotRunning(f"expected a running agent at {path}, found none") from error
