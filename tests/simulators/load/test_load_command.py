"""The whole way once, small: a fleet is enrolled, connects with mutual TLS, talks, and everything is acknowledged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


def test_every_record_of_a_small_fleet_is_acknowledged_and_nothing_is_left_running(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "simulators", "load", "--data", str(tmp_path / "d"), "--links", "8"]
    command += ["--attached", "5", "--minutes", "0.15", "--report", "3", "--sample", "1", "--faults", "200", "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    summary = lines[-1]
    assert lines[0]["enrolled"] == 40
    assert (summary["links"], summary["devices"], summary["lost"]) == (8, 40, 0)
    assert summary["made"] == summary["acked"] > 40
    assert summary["points"] >= 40 * 10 * 6
    assert summary["faults_raised"] > 0
    assert (summary["attempts"], summary["losses"]) == (8, 0)
