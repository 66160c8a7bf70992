"""The API as a process of its own on a fresh installation, without a broker: what answers HTTP, and nothing else."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulators.broker import free_port
from tests.fleet_server.enrollment.fleets import small_fleet

PROGRAM = [sys.executable, "-m", "fleet_server"]
_DEADLINE_S = 240.0


@dataclass(frozen=True, slots=True)
class ApiProcess:
    data: Path
    port: int
    installed: dict[str, Any]
    tls: ssl.SSLContext | None
    approval_port: int = 0

    @property
    def ca_file(self) -> Path:
        return self.data / "server" / "keys" / "ca.crt"

    @property
    def token(self) -> str:
        return str(self.installed["api_token"])


def ask(
    port: int, path: str, tls: ssl.SSLContext | None = None, *, patience_s: float = 30.0, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Over a connection of its own, as somebody who comes anew."""
    if tls is None:
        link = http.client.HTTPConnection("localhost", port, timeout=patience_s)
    else:
        link = http.client.HTTPSConnection("localhost", port, timeout=patience_s, context=tls)
    try:
        link.request("GET", path, headers=headers)
        answer = link.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, named, answer.read()
    finally:
        link.close()


@contextmanager
def running_api_process(folder: Path, *, https: bool, **settings: int) -> Iterator[ApiProcess]:
    """``settings``: in place of what stands in ``server/fleet.toml``."""
    data, port = folder / "data", free_port()
    (folder / "fleet.json").write_text(json.dumps(small_fleet()), "utf-8")
    ports = ["--mqtt-port", str(free_port()), "--http-host", "127.0.0.1", "--http-port", str(port), "--demo"]
    command = [*PROGRAM, "init", "--data", str(data), "--fleet", str(folder / "fleet.json"), *ports, "--json"]
    made = subprocess.run(command, capture_output=True, check=False)
    assert made.returncode == 0, made.stderr.decode(errors="replace")
    _write_settings(data / "server" / "fleet.toml", settings, https=https)
    tls = ssl.create_default_context(cafile=str(data / "server" / "keys" / "ca.crt")) if https else None
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen([*PROGRAM, "api", "--data", str(data)], stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, port, tls, folder / "api.log")
            yield ApiProcess(data, port, json.loads(made.stdout), tls)
        finally:
            process.kill()
            process.wait()


@contextmanager
def running_beside(folder: Path, *words: str) -> Iterator[None]:
    """Another process of the installation, such as the issuer: it is asked when it is there."""
    with (folder / f"{words[0]}.log").open("wb") as log:
        process = subprocess.Popen([*PROGRAM, *words], stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(_DEADLINE_S)


@contextmanager
def running_approval_page(api: ApiProcess, folder: Path, url: str) -> Iterator[ApiProcess]:
    """Beside the API, of the same installation. ``url``: as people open it."""
    port, path = free_port(), api.data / "server" / "fleet.toml"
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("approval_")]
    lines[:0] = [f'approval_url = "{url}"', 'approval_host = "127.0.0.1"', f"approval_port = {port}"]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    with (folder / "page.log").open("wb") as log:
        command = [*PROGRAM, "approval-page", "--data", str(api.data)]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            # Its answer to a name that is not its own.
            _wait(process, port, api.tls, folder / "page.log", expected=403)
            yield replace(api, approval_port=port)
        finally:
            process.kill()
            process.wait()


def _write_settings(path: Path, settings: Mapping[str, int], *, https: bool) -> None:
    text = path.read_text("utf-8")
    if https:
        text = re.sub(r"(?m)^url = .*$", 'url = "https://localhost"', text)
    for name, value in settings.items():
        text, times = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        assert times == 1, f"{name} is not in {path}"
    path.write_text(text, "utf-8")


def _wait(
    process: subprocess.Popen[bytes], port: int, tls: ssl.SSLContext | None, log: Path, *, expected: int = 200
) -> None:
    ends_at = time.monotonic() + _DEADLINE_S
    while True:
        with suppress(OSError):
            if ask(port, "/healthz" if expected == 200 else "/", tls)[0] == expected:
                return
        assert process.poll() is None, log.read_text("utf-8")
        assert time.monotonic() < ends_at, log.read_text("utf-8")
        time.sleep(0.1)
