"""The demo's local door: JSON lines over a Unix socket of mode 0600, for the command line and the console's demo panel.

Requests ``{"cmd": "list"}``, ``{"cmd": "break", "device": …, "fault": …}``, ``mend`` (fault optional) and ``{"cmd":
"screen", "device": …}``; answers ``{"ok": true, …}`` or ``{"ok": false, "code", "detail"}``. The socket's threads only
hand requests over; the demo's main thread answers them.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulators.errors import SimulatorError

MAX_LINE_BYTES = 16 * 1024
MAX_WAITING = 32
ANSWER_S = 20.0


class DemoNotRunning(SimulatorError):
    code = "demo_not_running"


class RequestRefused(SimulatorError):
    """What the demo answered to a request it could not do."""

    code = "request_refused"


@dataclass(slots=True)
class Request:
    message: dict[str, Any]
    answered: threading.Event = field(default_factory=threading.Event)
    answer: dict[str, Any] = field(default_factory=dict)

    def reply(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.answered.set()


class _Handler(socketserver.StreamRequestHandler):
    server: ControlSocket

    def handle(self) -> None:
        while line := self.rfile.readline(MAX_LINE_BYTES):
            answer = self.server.ask(line)
            self.wfile.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")


class ControlSocket(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            super().__init__(str(path), _Handler)
        finally:
            os.umask(before)
        self.requests: queue.Queue[Request] = queue.Queue(MAX_WAITING)
        self._path = path
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._path.unlink(missing_ok=True)

    def ask(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            return {"ok": False, "code": "not_understood", "detail": "expected one JSON object a line"}
        request = Request(message)
        try:
            self.requests.put_nowait(request)
        except queue.Full:
            return {"ok": False, "code": "busy", "detail": f"{MAX_WAITING} requests are waiting"}
        if not request.answered.wait(ANSWER_S):
            return {"ok": False, "code": "no_answer", "detail": f"the demo did not answer within {ANSWER_S:g} s"}
        return request.answer


def ask(path: Path, message: dict[str, Any]) -> dict[str, Any]:
    """One request to a running demo. Raises ``DemoNotRunning`` or ``RequestRefused``."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S + 5)
            connection.connect(str(path))
            connection.sendall(json.dumps(message).encode() + b"\n")
            line = connection.makefile("rb").readline()
    except OSError as error:
        raise DemoNotRunning(f"no demo answers at {path}: start it with 'make run' ({error})") from error
    answer: dict[str, Any] = json.loads(line or b'{"ok": false, "detail": "the demo hung up"}')
    if not answer.get("ok"):
        raise RequestRefused(str(answer.get("detail", answer)))
    return answer
