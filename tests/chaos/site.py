"""Where a run takes place: the folders, the network and the templates that all runs of one program share.

Making keys, certificates, a fleet and a database takes seconds; it is done once for each kind of database, and each run
gets a copy at the same path.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from simulators.broker import free_port
from tests.chaos import cluster, enclosure
from tests.chaos.cluster import Cluster
from tests.chaos.network import Namespaces, Network, Relays
from tests.chaos.plan import AGENT_NAMES, AGENTS, Fault, Plan
from tests.chaos.processes import REPOSITORY

# Nobody's outgoing connection takes one of these while the broker is away.
_PORTS_INSIDE: Final = (8883, 8080)
_SITE: Final = {
    "key": "chaos",
    "merchant_id": "898000000000001",
    "merchant_name": {"zh": "测试商户", "en": "Test bench"},
    "site_name": {"zh": "测试台", "en": "Bench"},
    "city": {"zh": "杭州", "en": "Hangzhou"},
    "phone": "13800000000",
    "timezone": "Asia/Shanghai",
    "trading_hours": None,
}


LEFT_OUT_IN_THE_OPEN: Final = dict.fromkeys(Relays.cannot | {Fault.DISK_FULL}, "no namespaces")


class SiteUnusable(Exception):
    """Says what could not be made."""


class Site:
    """``place`` is where each run finds its world, ``logs`` where what was said in it is written."""

    def __init__(self) -> None:
        # Short, for sockets; open to the user that PostgreSQL runs as.
        inside = enclosure.place()
        self.is_enclosed = inside is not None
        self.base = inside or Path(tempfile.mkdtemp(prefix="ch."))
        self.base.chmod(0o755)
        if self.is_enclosed:
            enclosure.furnish(self.base)
        self.place = self.base / "w"
        self.logs = self.base / "logs"
        self.mqtt_port, self.http_port = _PORTS_INSIDE if self.is_enclosed else (_low_port(), _low_port())
        self.logs.mkdir()
        self.network: Network = (
            Namespaces(AGENTS, self.mqtt_port, self.logs / "relays.log")
            if self.is_enclosed
            else Relays(AGENTS, self.mqtt_port)
        )

    def cannot(self) -> dict[Fault, str]:
        """The faults that are left out here, and why."""
        return {} if self.is_enclosed else LEFT_OUT_IN_THE_OPEN

    def prepare(self, database: str) -> None:
        """The template for all runs with this kind of database."""
        if not self._template(database).exists():
            self.clear()
            self.logs.mkdir()
            self._make(database)
            self.place.rename(self._template(database))

    def furnish(self, plan: Plan) -> dict[str, Any]:
        """A fresh world at ``place``; answers what the installation said of itself."""
        self.clear()
        self.logs.mkdir()
        subprocess.run(["cp", "-a", str(self._template(plan.database)), str(self.place)], check=True)
        said: dict[str, Any] = json.loads((self.place / "installation.json").read_bytes())
        return said

    def clear(self) -> None:
        for path in (self.place, self.logs):
            shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        self.network.close()
        if not self.is_enclosed:
            shutil.rmtree(self.base, ignore_errors=True)

    def _template(self, database: str) -> Path:
        return self.base / f"template-{database}"

    def database(self, plan: Plan) -> Cluster | None:
        return Cluster(self.place / "pg", self.logs / "database.log") if plan.database == "postgresql" else None

    def _make(self, database: str) -> None:
        self.place.mkdir()
        data = self.place / "data"
        data.mkdir(mode=0o700)
        if database == "sqlite":
            self._install(data, None)
            return
        made = Cluster(self.place / "pg", self.logs / "database.log")
        made.make()
        try:
            self._install(data, made.url)
        finally:
            made.primary.ask_to_end()
            made.primary.end()

    def _install(self, data: Path, url: str | None) -> None:
        entries = [
            {
                "key": name,
                "site": "chaos",
                "kind": "terminal",
                "serial_number": f"CHAOS-{name}",
                "model": "chaos",
                "terminal_class": "smart",
                "label": {"zh": name, "en": name},
            }
            for name in AGENT_NAMES
        ]
        fleet = data / "fleet.json"
        fleet.write_text(json.dumps({"sites": [_SITE], "devices": entries}), "utf-8")
        command = [sys.executable, "-m", "fleet_server", "init", "--data", str(data), "--fleet", str(fleet), "--demo"]
        command += ["--mqtt-host", self.network.broker_host, "--mqtt-port", str(self.mqtt_port), "--json"]
        command += ["--http-port", str(self.http_port), *(["--database-url", url] if url else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
        if done.returncode != 0:
            raise SiteUnusable(f"fleet-server init: {done.stderr.strip()[-500:]}")
        (self.place / "installation.json").write_text(done.stdout, "utf-8")


def databases() -> dict[str, str]:
    """Those that cannot be had here, and why."""
    return {} if cluster.is_installed() else {"postgresql": "PostgreSQL's server programs are not installed"}


def _low_port() -> int:
    """Below those that the system gives to outgoing connections."""
    while (port := free_port() - 20_000) < 1024:
        pass
    return port
