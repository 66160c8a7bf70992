"""Where a load run plays: a state folder with its fleet enrolled, and, unless they run already, broker and server.

Everything that was started here is stopped at the end.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from simulators.broker import find_mosquitto, free_port
from simulators.demo.installation import Installation, StartFailed, wait_until_ready, write_private
from simulators.errors import SimulatorError
from simulators.load.fleet import FleetSize, write_fleet_file
from simulators.load.open_files import allow_open_files
from simulators.processes import Child

_HOST: Final = "127.0.0.1"
_ENROL_WITHIN_S: Final = 1800.0
_BROKER_WITHIN_S: Final = 30.0


class StageUnready(SimulatorError):
    code = "stage_unready"


class _Made(msgspec.Struct, frozen=True):
    """Of the answer of ``fleet-server init`` what is needed here: not one entry for each of 400,000 devices."""

    url: str
    broker_config: str
    mqtt_port: int
    api_token: str | None
    users: list[dict[str, Any]]


class Stage:
    def __init__(self, data: Path, size: FleetSize, *, database_url: str | None = None, ingest: int = 1) -> None:
        self.data = data.absolute()
        self.size = size
        self._database_url = database_url
        self._ingest = ingest
        self._installation: Installation | None = None
        self.children: list[Child] = []

    @property
    def agents(self) -> Path:
        return self.data / "agents"

    @property
    def policy(self) -> Path:
        return self.data / "server" / "policy.json"

    @property
    def installation(self) -> Installation:
        if self._installation is None:
            raise StageUnready("expected a fleet that is enrolled, came none: enrol first")
        return self._installation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for child in reversed(self.children):
            child.stop()

    def enrol(self) -> Installation:
        """By the product's own import of a fleet file; any number of times."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        fleet = self.data / "load-fleet.json"
        write_fleet_file(fleet, self.size)
        http_port, mqtt_port = self._ports()
        command = [
            sys.executable,
            "-m",
            "fleet_server",
            "init",
            "--data",
            str(self.data),
            "--fleet",
            str(fleet),
            "--demo",
        ]
        command += ["--mqtt-port", str(mqtt_port), "--http-host", _HOST, "--http-port", str(http_port), "--json"]
        command += ["--database-url", self._database_url] if self._database_url else []
        answer = subprocess.run(command, capture_output=True, timeout=_ENROL_WITHIN_S, check=False)
        if answer.returncode != 0:
            raise StartFailed(answer.stderr.decode("utf-8", "replace").strip()[-2000:])
        self._installation = self._made(msgspec.json.decode(answer.stdout, type=_Made))
        return self._installation

    def _made(self, made: _Made) -> Installation:
        """Token and passwords are told only when they are made."""
        kept = self.data / "load-token"
        if made.api_token:
            write_private(kept, made.api_token)
        token = kept.read_text("utf-8") if kept.is_file() else ""
        ca_file = self.data / "server" / "keys" / "ca.crt"
        config = Path(made.broker_config)
        return Installation(made.url, made.url, token, made.users, {}, config, made.mqtt_port, ca_file)

    def start(self) -> None:
        """Broker and server, ready. Both are allowed a file for each link."""
        allow_open_files(self.size.links + 500)
        installation = self.installation
        mosquitto = find_mosquitto()
        logs = self.data / "logs"
        logs.mkdir(exist_ok=True)
        broker = Child(
            "broker", mosquitto.command(installation.broker_config), logs / "broker.log", mosquitto.environment
        )
        command = [sys.executable, "-m", "fleet_server", "run", "--data", str(self.data), "--ingest", str(self._ingest)]
        server = Child("fleet-server", command, logs / "fleet-server.log")
        for child in (broker, server):
            self.children.append(child)
            child.start()
        wait_until_ready(installation, self.children)

    def restart_broker(self) -> None:
        """Stopped and started again, as by an upgrade; returns when it listens."""
        broker = next(child for child in self.children if child.name == "broker")
        broker.stop()
        broker.start()
        give_up_s = time.monotonic() + _BROKER_WITHIN_S
        while not _is_listening(self.installation.mqtt_port):
            if time.monotonic() > give_up_s:
                raise StartFailed(f"the broker did not come back: {broker.log_tail()[-600:]}")
            time.sleep(0.05)

    def pids(self) -> dict[str, int]:
        """Of what was started, by name."""
        return {child.name: child.pid for child in self.children if child.pid is not None}

    def _ports(self) -> tuple[int, int]:
        """Those of an installation that is there already."""
        settings = self.data / "server" / "fleet.toml"
        if not settings.is_file():
            return free_port(), free_port()
        known = tomllib.loads(settings.read_text("utf-8"))
        return int(known["http_port"]), int(known["mqtt_port"])


def _is_listening(port: int) -> bool:
    # Asked by connecting: who tried to bind the port would take it from the broker that is just starting.
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0
