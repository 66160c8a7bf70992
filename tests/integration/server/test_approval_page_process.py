"""The approval page as ``fleet-server run`` starts it: a process of its own beside the signer's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fleet_server.approvals.page.sessions import HEADER
from fleet_server.kit.times import utc_now
from fleet_server.restoring import declared
from fleet_server.settings import ServerSettings, load_settings
from simulators.broker import free_port
from tests.support.wire_agent import until

pytestmark = pytest.mark.integration
DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Installed:
    settings: ServerSettings
    passwords: dict[str, str]

    def ask(self, method: str, path: str, body: Any = None, session: str = "") -> tuple[int, Any]:
        link = HTTPConnection(urlsplit(self.settings.approval_url).netloc, timeout=10)
        headers = {"Origin": self.settings.approval_url, HEADER: session, "Content-Type": "application/json"}
        try:
            link.request(method, path, None if body is None else json.dumps(body), headers)
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            link.close()

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/waiting")[0] == 401
        except OSError:
            return False


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    ports = ["--mqtt-port", str(free_port()), "--http-port", str(free_port()), "--approval-port", str(free_port())]
    command = [sys.executable, "-m", "fleet_server", "init", "--data", str(tmp_path / "d"), "--demo", "--json", *ports]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S).stdout)
    passwords = {one["name"]: one["password"] for one in said["users"]}
    return Installed(load_settings(tmp_path / "d"), passwords)


@contextmanager
def running(name: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "fleet_server", name, *options])
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_S)


def test_it_asks_the_signer_whose_key_counts_and_gives_way_to_a_restore(installed: Installed) -> None:
    settings = installed.settings
    with (
        running("signer", "--folder", str(settings.signer_dir)),
        running("approval-page", "--data", str(settings.data)) as page,
    ):
        until(installed.answers, "the approval page", DEADLINE_S)
        until(settings.signer_socket_path.exists, "the signer", DEADLINE_S)
        status, said = installed.ask(
            "POST", "/session", {"name": "approver", "password": installed.passwords["approver"]}
        )
        assert (status, said["person"], said["needs_code"]) == (200, "approver", False)
        status, desk = installed.ask("GET", "/waiting", session=said["session"])
        assert (status, desk) == (200, {"person": "approver", "may_decide": True, "keys": [], "items": []})
        with declared(settings.data, utc_now()):
            assert page.wait(DEADLINE_S) == 0


def test_without_an_address_it_says_what_is_missing(installed: Installed) -> None:
    file = installed.settings.server_dir / "fleet.toml"
    file.write_text(file.read_text("utf-8").replace(installed.settings.approval_url, ""), "utf-8")
    command = [sys.executable, "-m", "fleet_server", "approval-page", "--data", str(installed.settings.data)]
    refused = subprocess.run(command, check=False, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "approval_url: expected" in refused.stderr
