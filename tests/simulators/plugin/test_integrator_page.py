from __future__ import annotations

import inspect
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from fleet_server.enrollment.fleet_file import read_fleet_file
from simulators import pytest_plugin
from simulators.scenarios.play import play_recorded
from simulators.scenarios.scenario_file import known_scenarios, read_scenario
from simulators.scenarios.story import Story
from simulators.terminal_calls import _CALLS
from simulators.testing.bench_terminal import BenchTerminal
from simulators.testing.server import FleetServer
from tests.simulators.plugin import integrator_page
from tests.simulators.plugin.pytest_run import run_pytest

pytestmark = pytest.mark.integration

MAX_LINES = 15
BIN = Path(sys.executable).parent
NEEDS_SERVER = "test_server.py"


def run_shell(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"} | variables
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_first_test_takes_at_most_15_lines() -> None:
    first = integrator_page.printed_tests()["test_first.py"]
    assert len(first.splitlines()) <= MAX_LINES


def test_printed_tests_without_a_server_pass_as_they_are_printed(tmp_path: Path) -> None:
    files = {name: text for name, text in integrator_page.printed_tests().items() if name != NEEDS_SERVER}
    assert "test_first.py" in files
    ran = run_pytest(tmp_path, files, "-W", "error")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(files)} passed" in ran.stdout


@pytest.mark.acceptance
@pytest.mark.usefixtures("mosquitto")
def test_the_printed_test_with_a_server_passes_as_it_is_printed(
    tmp_path: Path, tillmedic_terminal: Callable[..., BenchTerminal], tillmedic_server: FleetServer
) -> None:
    """Here, with the server that this session has anyway: starting one takes a dozen seconds of processor time."""
    path = tmp_path / NEEDS_SERVER
    path.write_text(integrator_page.printed_tests()[NEEDS_SERVER], "utf-8")
    [printed] = [test for name, test in runpy.run_path(str(path)).items() if name.startswith("test_")]
    assert list(inspect.signature(printed).parameters) == ["tillmedic_terminal", "tillmedic_server"]
    printed(tillmedic_terminal, tillmedic_server)


@pytest.mark.acceptance
@pytest.mark.usefixtures("mosquitto")
def test_http_examples_do_what_the_page_says(
    tmp_path: Path, tillmedic_terminal: Callable[..., BenchTerminal], tillmedic_server: FleetServer
) -> None:
    printer = tillmedic_terminal("escpos", fault="paper_out")
    device = tillmedic_server.connect(printer)
    tillmedic_server.wait_for_fault(device, "escpos.eot4.paper_end")
    page = [block for block in integrator_page.marked("sh run") if "$URL" in block.text]
    script = "\n".join(block.text for block in page)
    ran = run_shell(script, tmp_path, URL=tillmedic_server.url, TOKEN=tillmedic_server.token, DEVICE=device)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr
    assert '"action":"printer.status"' in ran.stdout
    assert "event: verdict" in ran.stdout
    assert "event: fault_raised" in ran.stdout


@pytest.mark.acceptance
@pytest.mark.usefixtures("mosquitto")
def test_the_screen_pop_leads_a_stranger_to_sign_in_and_back(tillmedic_server: FleetServer, tmp_path: Path) -> None:
    [address] = [line.strip() for line in integrator_page.PAGE.read_text("utf-8").splitlines() if "    /open?" in line]
    ran = run_shell(
        'curl -sS -o page.html -w "%{http_code} %{redirect_url}" "$URL$ADDRESS"',
        tmp_path,
        URL=tillmedic_server.url,
        ADDRESS=address,
    )
    status, _, target = ran.stdout.partition(" ")
    assert status == "303"
    assert parse_qs(urlsplit(target).query)["next"] == [address]


def test_commands_that_need_no_server_run(tmp_path: Path) -> None:
    page = [block for block in integrator_page.marked("sh run") if "$URL" not in block.text]
    assert page
    for block in page:
        ran = run_shell(block.text, tmp_path)
        assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr


@pytest.mark.parametrize("block", integrator_page.marked("sh serves"), ids=lambda block: block.text.split()[2])
def test_simulated_devices_start_as_the_page_says(block: integrator_page.Block, tmp_path: Path) -> None:
    words = block.text.split()
    command = [str(BIN / words[0]), *words[1:]]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first_line = process.stdout.readline()
        process.terminate()
    assert first_line
    assert process.returncode == 0


def test_the_printed_scenario_keeps_its_promise(tmp_path: Path) -> None:
    [block] = integrator_page.marked("toml scenario")
    path = tmp_path / "roll.toml"
    path.write_text(block.text, "utf-8")
    scenario = read_scenario(str(path))
    assert play_recorded(scenario, scenario.seed, Story(lambda _line: None)) == []


def test_the_printed_fleet_file_is_one(tmp_path: Path) -> None:
    [block] = integrator_page.marked("json fleet")
    path = tmp_path / "fleet.json"
    path.write_text(block.text, "utf-8")
    assert len(read_fleet_file(path).devices) == 3


def test_the_page_lists_every_call_of_the_terminal_service() -> None:
    assert set(integrator_page.table_column("Terminal service protocol", "call")) == set(_CALLS)


def test_the_page_lists_every_scenario() -> None:
    assert set(integrator_page.table_column("Scenarios", "scenario")) == set(known_scenarios())


def test_the_page_lists_every_fixture_and_option() -> None:
    fixtures = {name for name in vars(pytest_plugin) if name.startswith("tillmedic_")}
    assert set(integrator_page.table_column("The pytest plugin", "fixture")) == fixtures
    options = {text.split()[0] for text in integrator_page.table_column("The pytest plugin", "option")}
    assert options == {"--tillmedic-url", "--tillmedic-token", "--tillmedic-ca"}
