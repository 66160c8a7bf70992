"""A client of the fleet server's HTTP API for the simulators: one caller, one token, the standard library alone.

A request that comes too often (429) is repeated when the server says so, at most `MAX_TRIES` times; every other refusal
is raised with the server's own code.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from simulators.errors import SimulatorError

TIMEOUT_S: Final = 10.0
MAX_TRIES: Final = 5
_TOO_MANY: Final = 429
_MAX_WAIT_S: Final = 10.0


class ServerRefused(SimulatorError):
    """What the server's API answered to a request that it did not do."""

    code = "server_refused"

    def __init__(self, status: int, refusal: str, detail: str) -> None:
        super().__init__(f"the fleet server refused: {refusal} (HTTP {status}): {detail}")
        self.status = status
        self.refusal = refusal


class ApiClient:
    """``ca_file``: the authority that signed an https server's certificate, when it is a private one."""

    def __init__(self, url: str, token: str, ca_file: Path | None = None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        is_https = self.url.startswith("https:")
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None) if is_https else None

    def get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._ask("POST", path, body or {})

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        for left in reversed(range(MAX_TRIES)):
            try:
                return self._asked_once(method, path, body)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != _TOO_MANY or not left:
                        raise _refusal(error) from error
                    wait_s = float(error.headers.get("Retry-After", "1"))
                time.sleep(min(wait_s, _MAX_WAIT_S))
        raise AssertionError("unreachable: the last try answers or raises")

    def _asked_once(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)  # noqa: S310 - a caller's own http(s) address
        request.add_header("Authorization", f"Bearer {self._token}")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._tls) as answer:  # noqa: S310 - as above
            found: dict[str, Any] = json.load(answer)
        return found


def _refusal(error: urllib.error.HTTPError) -> ServerRefused:
    try:
        said = json.loads(error.read(64 * 1024))
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return ServerRefused(error.code, "unknown", str(error.reason)[:200])
    return ServerRefused(error.code, str(said.get("code")), str(said.get("detail"))[:500])
