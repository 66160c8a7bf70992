"""The API over HTTP, for the command line: one connection, refusals as one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import httpx2

from fleet_server.errors import FleetError
from fleet_server.kit.answer_lines import lines_of
from protocol import codec
from protocol.errors import Malformed

_TIMEOUT_S = 20.0
# Longer than the server's heartbeat on a quiet event stream.
_STREAM_TIMEOUT_S = 40.0


class ServerUnknown(FleetError):
    code: ClassVar[str] = "server_unknown"


class ServerUnreachable(FleetError):
    code: ClassVar[str] = "server_unreachable"


class ServerRefused(FleetError):
    """The server's own code and words."""

    code: ClassVar[str] = "server_refused"


class DeviceAmbiguous(FleetError):
    code: ClassVar[str] = "device_ambiguous"


@dataclass(frozen=True, slots=True)
class _Demo:
    url: str
    api_token: str
    names: dict[str, str]


class Connection:
    """``names``: short names of devices and their ids, as the demo gives them."""

    def __init__(self, client: httpx2.Client, names: Mapping[str, str] | None = None) -> None:
        self._client = client
        self._names = names or {}

    def get(self, path: str, params: dict[str, Any] | None = None) -> Any:
        return self._answer("GET", path, params={k: v for k, v in (params or {}).items() if v not in {"", None}})

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._answer("POST", path, json=body)

    def pages(self, path: str, params: dict[str, Any], limit: int = 10_000) -> Iterator[dict[str, Any]]:
        """Items of all pages, at most ``limit``."""
        cursor: str | None = None
        while limit > 0:
            page = self.get(path, {**params, "cursor": cursor, "limit": min(limit, 200)})
            yield from page["items"]
            limit, cursor = limit - len(page["items"]), page["next"]
            if cursor is None:
                return

    def device(self, name: str) -> dict[str, Any]:
        """By its id or short name, or by whatever it may be asked for by if that finds exactly one."""
        items = [] if name in self._names else self.get("/api/v1/devices", {"q": name, "limit": 10})["items"]
        exact = [one for one in items if name.lower() in _names_of(one)]
        found = exact if len(exact) == 1 else items
        if name in self._names or not found:
            return self._by_id(self._names.get(name, name))
        if len(found) > 1:
            names = ", ".join(f"{one['id']} ({one['serial_number']})" for one in found)
            raise DeviceAmbiguous(f"{name!r} finds {len(found)} devices, expected one: {names}")
        return self._by_id(found[0]["id"])

    def _by_id(self, device_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/api/v1/devices/{quote(device_id, safe='')}")
        return found

    def ask(
        self,
        device: str,
        action: str,
        params: dict[str, Any],
        artifact: dict[str, Any] | None = None,
        *,
        is_planned: bool = False,
    ) -> dict[str, Any]:
        """``artifact``: of class 2, what people are to sign for."""
        body: dict[str, Any] = {"device": device, "action": action, "params": params, "artifact": artifact}
        if is_planned:
            body["planned"] = True
        asked: dict[str, Any] = self.post("/api/v1/executions", body)
        return asked

    def events(self, path: str, after_id: int) -> Iterator[dict[str, Any]]:
        """What an event stream tells until it ends. Raises ``httpx2.HTTPError`` when it is cut."""
        headers = {"Last-Event-ID": str(after_id)}
        with self._client.stream("GET", path, headers=headers, timeout=_STREAM_TIMEOUT_S) as response:
            response.raise_for_status()
            for line in lines_of(response):
                if line.startswith("data: "):
                    yield _read(line[6:].encode(), dict[str, Any])

    def _answer(self, method: str, path: str, **more: Any) -> Any:
        response = self._request(method, path, **more)
        if response.is_success:
            return _read(response.content, Any)
        raise ServerRefused(_refusal(response))

    def _request(self, method: str, path: str, **more: Any) -> httpx2.Response:
        try:
            return self._client.request(method, path, **more)
        except httpx2.HTTPError as error:
            raise ServerUnreachable(f"{self._client.base_url} does not answer: {error}") from error


def connect(url: str, token: str, data: Path) -> Connection:
    """Raises ``ServerUnknown`` when nothing says where the server is."""
    verify: Any = True
    names: Mapping[str, str] = {}
    if not (url and token):
        demo = _read_demo(data / "demo.json")
        url, token, names = url or demo.url, token or demo.api_token, demo.names
        ca = data / "server" / "keys" / "ca.crt"
        if url.startswith("https:") and ca.is_file():
            import ssl

            verify = ssl.create_default_context(cafile=str(ca))
    headers = {"Authorization": f"Bearer {token}"}
    return Connection(httpx2.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S, verify=verify), names)


def _read_demo(path: Path) -> _Demo:
    try:
        document = json.loads(path.read_text("utf-8"))
        names = {key: one["id"] for key, one in document.get("devices", {}).items()}
        return _Demo(document["url"], document["api_token"], names)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServerUnknown(
            f"expected --url and --token (or TILLMEDIC_URL and TILLMEDIC_TOKEN), or a running demo's {path}"
        ) from error


def _names_of(device: dict[str, Any]) -> set[str]:
    names = (device["id"], device["serial_number"], device["serial_number"][-6:], device["terminal_id"])
    return {name.lower() for name in names if name}


def _refusal(response: httpx2.Response) -> str:
    try:
        document = _read(response.content, dict[str, Any])
        return f"{document['detail']} ({document['code']})"
    except (ServerRefused, KeyError):
        return f"the server answered {response.status_code}"


def _read(said: bytes, kind: Any) -> Any:
    """Whoever answers at that address may be none of ours. Raises ``ServerRefused``."""
    document = codec.from_json(said, kind)
    if isinstance(document, Malformed):
        raise ServerRefused(f"expected JSON of a fleet server, came something else: {document.detail}")
    return document
