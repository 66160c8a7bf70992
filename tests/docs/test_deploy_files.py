"""The files under ``deploy/``: systemd takes them, hardening is kept, alert rules speak of metrics that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_server.devices.condition import Condition
from fleet_server.devices.presence import Presence
from fleet_server.metrics import ServerMetrics
from protocol.executions import ExecutionState

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"
RULES = ROOT / "deploy" / "prometheus" / "tillmedic.rules.yml"
DEBIAN_MOSQUITTO = Path("/lib/systemd/system/mosquitto.service")
NAMES = (
    "device-agent.service",
    "fleet-server.service",
    "tillmedic-broker-certificate.path",
    "tillmedic-issuer.service",
    "tillmedic-issuer.socket",
    "tillmedic-signer.service",
)
# What `systemd-analyze security` calls OK ends at 4.9; ours are held well below.
MAX_EXPOSURE = 2.0


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as installed, with a program that exists in place of ours."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    folder = tmp_path_factory.mktemp("units")
    shutil.copytree(UNITS, folder, dirs_exist_ok=True)
    for path in folder.glob("*.service"):
        path.write_text(re.sub(r"/opt/tillmedic\S*", "/bin/true", path.read_text("utf-8")), "utf-8")
    if DEBIAN_MOSQUITTO.exists():
        shutil.copy(DEBIAN_MOSQUITTO, folder)
    return folder


def analyze(units: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The colon at the end keeps the machine's own units in reach.
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_LOG_LEVEL": "warning"}
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", [*NAMES, "tillmedic-broker-certificate.service", "mosquitto.service"])
def test_systemd_takes_the_unit_without_a_remark(units: Path, name: str) -> None:
    if not (units / name).exists():
        pytest.skip(f"{name} is not installed (Debian package mosquitto)")
    done = analyze(units, "verify", "--man=no", "--recursive-errors=one", str(units / name))
    # The machine's own units may have remarks of their own.
    assert [line for line in done.stderr.splitlines() if name in line] == []
    assert done.returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "device-agent.service",
        "fleet-server.service",
        "mosquitto.service",
        "tillmedic-issuer.service",
        "tillmedic-signer.service",
    ],
)
def test_the_unit_is_exposed_to_little(units: Path, name: str) -> None:
    if not (units / name).exists():
        pytest.skip(f"{name} is not installed (Debian package mosquitto)")
    done = analyze(units, "security", "--offline=true", str(units / name))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= MAX_EXPOSURE


def test_the_agents_unit_hands_over_every_file_of_a_bundle() -> None:
    text = (UNITS / "device-agent.service").read_text("utf-8")
    handed = dict(re.findall(r"^LoadCredential=(\S+?):(\S+)$", text, re.MULTILINE))
    assert set(handed) == {"agent.toml", "enrolment.json", "policy.json", "ca.crt", "client.crt", "client.key"}
    assert all(place == f"/etc/tillmedic/agent/{name}" for name, place in handed.items())


def alerts() -> list[dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def exposed_names() -> set[str]:
    metrics = ServerMetrics()
    metrics.count_request("GET", "/", 200, 0.01)
    metrics.set_process(rate_limited=0, fanned_out=0, is_broker_connected=True)
    metrics.set_ends({"issuing": 1.0})
    metrics.set_identities(retirements_waiting=0, links_past_their_end=0)
    metrics.set_fleet({"QUEUED": 1}, {"online": 1}, {"well": 1})
    lines = metrics.text().decode().splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}


def test_every_metric_of_the_alert_rules_is_exposed() -> None:
    used = {name for rule in alerts() for name in re.findall(r"tillmedic_\w+", rule["expr"])}
    assert used
    assert used - exposed_names() == set()


def test_every_label_value_of_the_alert_rules_exists() -> None:
    known = {
        "presence": {one.value for one in Presence},
        "condition": {one.value for one in Condition},
        "state": {one.value for one in ExecutionState},
    }
    found = [pair for rule in alerts() for pair in re.findall(r'(\w+)=~?"([^"]+)"', rule["expr"])]
    wrong = [(label, one) for label, value in found for one in value.split("|") if one not in known.get(label, {one})]
    assert {label for label, _ in found} >= {"presence", "condition", "state"}
    assert wrong == []


def test_every_alert_says_what_to_do() -> None:
    silent = [rule["alert"] for rule in alerts() if {"summary", "action"} - rule["annotations"].keys()]
    assert silent == []


def test_every_exposed_metric_is_in_the_operators_page() -> None:
    page = (ROOT / "docs" / "operator.md").read_text("utf-8")
    names = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exposed_names()}
    missing = {name for name in names if name not in page and f"{name}_total" not in page}
    assert missing == set()
