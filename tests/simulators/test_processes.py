from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from simulators.processes import Child

pytestmark = pytest.mark.integration


def test_child_writes_its_log_and_ends_with_its_code(tmp_path: Path) -> None:
    child = Child("talker", [sys.executable, "-c", "print('said'); raise SystemExit(3)"], tmp_path / "log")
    child.start()
    deadline = time.monotonic() + 20
    while child.is_running() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert child.exit_code == 3
    assert child.log_tail() == "said"


def test_stop_ends_a_child_that_ignores_the_asking(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    child = Child("stubborn", [sys.executable, "-c", stubborn], tmp_path / "log")
    child.start()
    deadline = time.monotonic() + 20
    while "up" not in child.log_tail() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.stop(within_s=0.3)
    assert not child.is_running()


def test_child_that_was_never_started_is_not_running_and_stops_quietly(tmp_path: Path) -> None:
    child = Child("idle", ["true"], tmp_path / "log")
    child.stop()
    assert not child.is_running()
    assert child.exit_code is None
