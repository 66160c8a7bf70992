"""``fleet-server init`` and ``fleet-server run`` as a person starts them: real processes, a real broker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fleet_server.enrollment.fleets import small_fleet
from tests.support.broker import free_port, running_mosquitto

pytestmark = pytest.mark.integration
DEADLINE_S = 60.0
PROGRAM = [sys.executable, "-m", "fleet_server"]


@dataclass(slots=True)
class Server:
    data: Path
    installed: dict[str, Any]
    process: subprocess.Popen[str]

    def get(self, path: str) -> tuple[int, str]:
        request = urllib.request.Request(
            self.installed["url"] + path, headers={"Authorization": f"Bearer {self.installed['api_token']}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""
        except OSError:
            return 0, ""

    def children(self) -> dict[str, int]:
        """Pids by the name of what they run; the dead and those that just begin are passed over."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                words = child.cmdline()
                if "fleet_server" in words[:-1]:
                    found[words[words.index("fleet_server") + 1]] = child.pid
        return found

    def stop(self, number: signal.Signals) -> str:
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=DEADLINE_S)
        return said


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "fleet.json").write_text(json.dumps(small_fleet()), "utf-8")
    data = tmp_path / "data"
    ports = ["--mqtt-port", str(free_port()), "--http-port", str(free_port())]
    where = ["--data", str(data), "--fleet", str(tmp_path / "fleet.json")]
    made = subprocess.run([*PROGRAM, "init", *where, *ports, "--demo", "--json"], capture_output=True, check=True)
    installed = json.loads(made.stdout)
    with running_mosquitto(Path(installed["broker_config"]), installed["mqtt_port"]):
        process = subprocess.Popen([*PROGRAM, "run", "--data", str(data)], stdout=subprocess.PIPE, text=True)
        running = Server(data, installed, process)
        try:
            wait_for(lambda: running.get("/readyz")[0] == 200)
            yield running
        finally:
            process.kill()
            process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at, "deadline passed"
        time.sleep(0.05)


def test_the_server_comes_up_mends_itself_refuses_a_second_and_ends_cleanly(server: Server) -> None:
    status, listed = server.get("/api/v1/devices")
    assert status == 200
    assert {one["serial_number"] for one in json.loads(listed)["items"]} == {"PRN000001", "GW0000001", "ES0000001"}

    before = server.children()
    assert set(before) == {"api", "ingest", "issuer", "scheduler", "signer"}
    os.kill(before["ingest"], signal.SIGKILL)
    wait_for(lambda: server.children().get("ingest", before["ingest"]) != before["ingest"])

    second = subprocess.run([*PROGRAM, "run", "--data", str(server.data)], capture_output=True, text=True, check=False)
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert "is taken by another program" in second.stderr

    children = server.children().values()
    said = server.stop(signal.SIGINT)
    assert server.process.returncode == 0
    assert f"Ready: {server.installed['url']}" in said
    assert "ingest-1 ended with -9, starts again in 1 s" in said
    assert not any(psutil.pid_exists(pid) for pid in children)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(server.installed["url"].rsplit(":", 1)[1]))) != 0
