"""The same from the shell: fleet-server, device-agent and simulators against a running demo."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.demo_client import Demo, run_command

pytestmark = pytest.mark.acceptance


def fleet(demo: Demo, *words: str) -> subprocess.CompletedProcess[str]:
    return run_command("fleet_server", *words, "--data", str(demo.data))


def test_devices_are_listed_for_people_and_programs(demo: Demo) -> None:
    listed = fleet(demo, "devices", "--json")
    assert listed.returncode == 0, listed.stderr
    rows = json.loads(listed.stdout)
    items = rows["items"] if isinstance(rows, dict) else rows
    assert {item["id"] for item in items} == {device["id"] for device in demo.facts["devices"].values()}
    (found,) = [
        line for line in fleet(demo, "devices", "60218834").stdout.splitlines() if demo.device("esign1") in line
    ]
    assert "60218834" in found


def test_check_ends_with_its_verdict_as_exit_code(demo: Demo) -> None:
    passing = fleet(demo, "check", demo.device("prn1"), "printer.status")
    assert passing.returncode == 0, passing.stderr + passing.stdout
    demo.break_("prn1", "paper_out")
    failing = fleet(demo, "check", demo.device("prn1"), "printer.status", "--json")
    assert failing.returncode == 1, failing.stderr + failing.stdout


def test_fix_shows_its_progress_and_its_proof(demo: Demo) -> None:
    demo.break_("esign1", "storage_log_growth")
    demo.until_open("esign1", "term.STORAGE_FULL")
    fixed = fleet(demo, "fix", demo.device("esign1"), "logs.purge")
    assert fixed.returncode == 0, fixed.stderr + fixed.stdout


def test_timeline_is_printed_newest_first(demo: Demo) -> None:
    shown = fleet(demo, "timeline", demo.device("gw1"), "--json")
    assert shown.returncode == 0, shown.stderr
    rows = json.loads(shown.stdout)
    items = rows["items"] if isinstance(rows, dict) else rows
    moments = [item["at"] for item in items]
    assert moments == sorted(moments, reverse=True)


def test_distribution_counts_what_the_devices_report(demo: Demo) -> None:
    demo.until(
        lambda: fleet(demo, "distribution", "sys.mem_avail_pct", "--json").stdout,
        "some device to report its memory",
        is_so=lambda said: json.loads(said)["devices"] > 0,
    )
    shown = fleet(demo, "distribution", "sys.mem_avail_pct", "--lang", "en").stdout
    assert shown.splitlines()[1].startswith("model\tversion\tdevices")


def test_unknown_device_is_one_sentence(demo: Demo) -> None:
    refused = fleet(demo, "check", "no-such-device", "agent.echo")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


def test_break_and_mend_from_the_shell(demo: Demo) -> None:
    data = ("--data", str(demo.data))
    assert run_command("simulators", "break", demo.device("prn1"), "mechanical_jam", *data).returncode == 0
    demo.until_open("prn1", "escpos.eot3.mechanical")
    assert "mechanical_jam" in run_command("simulators", "list", *data).stdout
    assert run_command("simulators", "mend", "prn1", *data).returncode == 0
    unknown = run_command("simulators", "break", "prn1", "nonsense", *data)
    assert unknown.returncode == 2
    assert "paper_out" in unknown.stderr


def test_agent_answers_on_its_own_machine(demo: Demo) -> None:
    configuration = ("--config", str(demo.data / "agents" / "esign1" / "agent.toml"))
    status = run_command("device_agent", "status", *configuration, "--json")
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)
    checked = run_command("device_agent", "check", "app.alive", *configuration)
    assert checked.returncode == 0, checked.stderr + checked.stdout
    assert "app.restart" in run_command("device_agent", "fixes", *configuration).stdout
    assert run_command("device_agent", "doctor", *configuration).returncode == 0


def test_agent_opens_no_listening_network_port(demo: Demo) -> None:
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text("ascii").splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A":
                listening.add(columns[9])
    agents = demo.processes("device_agent", "run")
    assert len(agents) == 3
    for pid in agents:
        sockets = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir()}
        assert not {f"socket:[{inode}]" for inode in listening} & sockets
    assert socket.AF_UNIX  # its local door is a Unix socket
