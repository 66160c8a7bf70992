"""Starting, stopping, starting again: what a newcomer meets first."""

from __future__ import annotations

import json
import operator
import signal
import socket
import stat
from pathlib import Path

import pytest

from simulators.broker import free_port
from tests.acceptance.demo_client import START_S, Demo, run_command

pytestmark = pytest.mark.acceptance


def test_start_after_a_kill_goes_on_with_the_same_data_and_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    first = Demo(tmp_path / "state")
    said = first.start()
    assert first.facts["url"] in said
    assert all(user["password"] in said for user in first.facts["users"])
    assert stat.S_IMODE(first.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((first.data / "demo.json").stat().st_mode) == 0o600
    ran = first.run("esign1", "agent.echo")
    passwords = first.facts["users"]
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    first.until(first.processes, "everything it started to end with it", is_so=operator.not_)
    second = Demo(tmp_path / "state")
    second.start()
    assert second.facts["users"] == passwords
    assert second.execution(ran["id"])["state"] == "SUCCEEDED"
    refused = run_command("simulators", "demo", "--data", str(second.data), "--port", str(free_port()))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "another demo runs on" in refused.stderr
    assert second.stop() == 0
    assert second.processes() == []
    assert not (second.data / "demo.json").exists()


def test_a_stop_during_the_start_stops_what_was_started(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "state")
    demo.launch()
    demo.until(lambda: demo.processes("mosquitto"), "the broker to be started", START_S)
    assert demo.stop(signal.SIGTERM) == 0
    assert demo.processes() == []


def test_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run_command("simulators", "demo", "--data", str(tmp_path / "state"), "--port", str(port))
    assert refused.returncode == 2
    assert refused.stderr == f"simulators: port {port} on 127.0.0.1 is taken: choose another with PORT=\n"


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", "80000"), ("not.a.host.invalid", "8700")])
def test_address_that_cannot_be_is_one_sentence_and_not_called_taken(tmp_path: Path, host: str, port: str) -> None:
    refused = run_command("simulators", "demo", "--data", str(tmp_path / "state"), "--host", host, "--port", port)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"simulators: port {port} on {host} cannot be used: ")
    assert refused.stderr.count("\n") == 1


def test_state_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    refused = run_command("simulators", "demo", "--data", str(tmp_path / "state"), "--port", str(free_port()))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "choose another with DATA=" in refused.stderr


def test_broken_settings_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state" / "server").mkdir(parents=True)
    (tmp_path / "state" / "server" / "fleet.toml").write_text("database_url = 7")
    refused = run_command("simulators", "demo", "--data", str(tmp_path / "state"), "--port", str(free_port()))
    assert refused.returncode == 2
    assert refused.stderr.strip().count("\n") == 0
    assert "fleet.toml" in refused.stderr


def test_facts_of_the_demo_have_their_promised_shape(demo: Demo) -> None:
    facts = json.loads((demo.data / "demo.json").read_text("utf-8"))
    assert facts["url"].startswith("http://127.0.0.1:")
    assert facts["api_token"]
    roles = {"viewer", "technician", "support", "approver", "tenant_admin", "auditor", "operator"}
    assert {user["role"] for user in facts["users"]} == roles
    assert all(set(user) == {"name", "password", "role"} for user in facts["users"])


def test_state_folder_with_too_long_a_path_is_one_sentence(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 20)
    refused = run_command("simulators", "demo", "--data", str(data), "--port", str(free_port()))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "sockets in it allow 74; choose another with DATA=" in refused.stderr
