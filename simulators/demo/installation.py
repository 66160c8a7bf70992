"""The server's side of the demo: ``fleet-server init`` as a process, its answer as a value, waiting until all is up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.api import ApiClient, ServerRefused
from simulators.demo.fleet import fleet_document
from simulators.errors import SimulatorError
from simulators.processes import Child, Hold, run_to_end

UP_WITHIN_S = 90.0
_INIT_S = 120.0
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not bound to


class StartFailed(SimulatorError):
    code = "start_failed"


@dataclass(frozen=True, slots=True)
class Installation:
    """What ``fleet-server init`` made, with the secrets of its first run, which it tells only once."""

    url: str  # as people open it
    local_url: str  # as this machine reaches it, whatever its name leads to
    api_token: str
    users: list[dict[str, Any]]
    devices: dict[str, dict[str, Any]]
    broker_config: Path
    mqtt_port: int
    ca_file: Path

    def published(self) -> dict[str, Any]:
        devices = {key: {"id": device["id"]} for key, device in self.devices.items()}
        return {"url": self.url, "api_token": self.api_token, "users": self.users, "devices": devices}


def initialise(
    data: Path,
    host: str,
    port: int,
    mqtt_port: int,
    document: dict[str, Any] | None = None,
    *,
    database_url: str | None = None,
    hold: Hold = nullcontext,
) -> Installation:
    """``document``: the fleet, the demo's when None. Raises ``StartFailed`` with the sentence that init said."""
    fleet = data / "fleet.json"
    write_private(fleet, json.dumps(document or fleet_document(), ensure_ascii=False, indent=1))
    command = [sys.executable, "-m", "fleet_server", "init", "--data", str(data), "--fleet", str(fleet), "--demo"]
    command += ["--mqtt-port", str(mqtt_port), "--http-host", host, "--http-port", str(port), "--json"]
    # It may hold a password, which has no place in a command line.
    more = {"TILLMEDIC_DATABASE_URL": database_url} if database_url else {}
    try:
        answer = run_to_end(command, within_s=_INIT_S, hold=hold, environment=more)
    except subprocess.TimeoutExpired as error:
        raise StartFailed(f"fleet-server init did not end within {_INIT_S:g} s") from error
    if answer.returncode != 0:
        raise StartFailed(answer.stderr.strip() or f"fleet-server init ended with exit code {answer.returncode}")
    made = json.loads(answer.stdout)
    secrets = _keep_secrets(data / "demo-secrets.json", made)
    return Installation(
        url=made["url"],
        local_url=_local_url(made["url"], host, port),
        api_token=secrets["api_token"],
        users=secrets["users"],
        devices=made["devices"],
        broker_config=Path(made["broker_config"]),
        mqtt_port=made["mqtt_port"],
        ca_file=data / "server" / "keys" / "ca.crt",
    )


def _local_url(url: str, host: str, port: int) -> str:
    return f"{url.partition(':')[0]}://127.0.0.1:{port}" if host in _WILDCARDS else url


def _keep_secrets(path: Path, made: dict[str, Any]) -> dict[str, Any]:
    """Passwords are told only when they are made: written down before anything else can fail."""
    known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {"users": [], "api_token": ""}
    passwords = {user["name"]: user["password"] for user in known["users"]}
    for user in made["users"]:
        if user["password"]:
            passwords[user["name"]] = user["password"]
    users = [user | {"password": passwords.get(user["name"])} for user in made["users"]]
    secrets = {"users": users, "api_token": made["api_token"] or known["api_token"]}
    write_private(path, json.dumps(secrets, ensure_ascii=False))
    return secrets


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, readable by the owner alone."""
    beside = path.with_name(f".{path.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    beside.replace(path)


def wait_until_ready(installation: Installation, children: Sequence[Child]) -> None:
    """Until the server answers. Raises ``StartFailed`` when a process dies or time is up."""
    _wait_for(lambda: _not_ready(installation), children)


def wait_until_up(installation: Installation, children: Sequence[Child]) -> None:
    """Until the server answers and every link is online. Raises ``StartFailed`` when a process dies or time is up."""
    _wait_for(lambda: _not_up(installation), children)


def _wait_for(what_is_missing: Callable[[], str], children: Sequence[Child]) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    waiting_for = "the fleet server"
    while time.monotonic() < deadline:
        for child in children:
            if not child.is_running():
                raise StartFailed(f"{child.name} ended (exit code {child.exit_code}): {child.log_tail()[-600:]}")
        waiting_for = what_is_missing()
        if not waiting_for:
            return
        time.sleep(0.2)
    raise StartFailed(f"not up within {UP_WITHIN_S:g} s: still waiting for {waiting_for}")


def _not_ready(installation: Installation) -> str:
    try:
        get_json(installation, "/readyz")
    except (ServerRefused, OSError, ValueError):
        return "the fleet server"
    return ""


def _not_up(installation: Installation) -> str:
    try:
        devices = get_json(installation, "/api/v1/devices?limit=200")["items"]
    except (ServerRefused, OSError, ValueError):
        return "the fleet server"
    missing = [device["id"] for device in devices if device["presence"] != "online"]
    return f"{len(missing)} devices to be heard" if missing else ""


def get_json(installation: Installation, path: str) -> dict[str, Any]:
    """One GET with the demo's token."""
    return ApiClient(installation.local_url, installation.api_token, installation.ca_file).get(path)
