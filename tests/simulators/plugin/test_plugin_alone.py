from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from simulators.testing.server import FleetServer
from tests.simulators.plugin.integrator_page import printed_tests
from tests.simulators.plugin.pytest_run import run_pytest

pytestmark = pytest.mark.integration

WITHOUT_SERVER = """
import sys

BLOCKED = {"fastapi", "sqlmodel", "sqlalchemy", "pydantic", "fleet_server", "uvicorn", "typer", "alembic"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is not part of the simulators", name=name)

sys.meta_path.insert(0, Refuse())

def pytest_sessionfinish():
    assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
"""
WITHOUT_FASTAPI = """
import importlib.util

really = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "fastapi" else really(name, *rest)
"""
WITHOUT_BROKER = """
from simulators.broker import BrokerMissing
from simulators.testing import server

def find_nothing():
    raise BrokerMissing("mosquitto is not installed: a way to get it")

server.find_mosquitto = find_nothing
"""
ASKS_AN_EXISTING_SERVER = """
def test_it_answers(tillmedic_server):
    assert "items" in tillmedic_server.api.get("/api/v1/devices")
    assert tillmedic_server.url == {url!r}
"""


def test_importing_the_plugin_imports_nothing_but_pytest() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules); import simulators.pytest_plugin; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "['simulators']"


def test_plugin_and_recorder_work_where_the_server_is_not_installed(tmp_path: Path) -> None:
    files = {"conftest.py": WITHOUT_SERVER, "test_first.py": printed_tests()["test_first.py"]}
    ran = run_pytest(tmp_path, files)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_without_the_server_its_fixture_skips_and_says_what_to_install(tmp_path: Path) -> None:
    files = {"conftest.py": WITHOUT_FASTAPI, "test_server.py": printed_tests()["test_server.py"]}
    ran = run_pytest(tmp_path, files)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 skipped" in ran.stdout
    assert "tillmedic[server]" in ran.stdout


def test_without_a_broker_the_server_fixture_skips_and_says_why(tmp_path: Path) -> None:
    files = {"conftest.py": WITHOUT_BROKER, "test_server.py": printed_tests()["test_server.py"]}
    ran = run_pytest(tmp_path, files)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 skipped" in ran.stdout
    assert "mosquitto is not installed" in ran.stdout


@pytest.mark.acceptance
@pytest.mark.usefixtures("mosquitto")
def test_options_lead_to_a_server_that_runs_already(tmp_path: Path, tillmedic_server: FleetServer) -> None:
    server = tillmedic_server
    files = {"test_ours.py": ASKS_AN_EXISTING_SERVER.format(url=server.url)}
    ran = run_pytest(tmp_path, files, f"--tillmedic-url={server.url}", f"--tillmedic-token={server.token}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout
