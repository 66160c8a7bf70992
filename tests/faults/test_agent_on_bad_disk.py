"""The whole agent on a disk that fails: it ends by itself with one sentence, and its next start goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from device_agent.adapters.control_socket import AgentNotRunning, ask
from tests.faults.fault import Fault, Trouble
from tests.faults.mounted import mounted_disk
from tests.integration.agent.fleet_side import Keys, write_config
from tests.support.broker import running_broker

PATIENCE_S: Final = 30.0
pytestmark = pytest.mark.integration


@contextmanager
def running_agent(config: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "device_agent", "run", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def status(control: Path) -> dict[str, Any]:
    try:
        return list(ask(control, {"ask": "status"}))[-1]
    except (AgentNotRunning, OSError, IndexError):
        return {}


def until(control: Path, question: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while not question(found := status(control)):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def written(streams: dict[str, Any]) -> int:
    return sum(one["last"] for one in streams.values())


def test_failed_sync_ends_the_agent_and_the_next_start_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    with mounted_disk(tmp_path) as disk, running_broker(tmp_path / "broker") as broker:
        config = write_config(tmp_path / "site", "d-0000000000000017", broker, Keys())
        text = config.read_text()
        # The disk that fails knows no folders; what never goes back has its second place elsewhere anyway.
        (tmp_path / "guard").mkdir(0o700)
        places = f"state_dir = {str(disk.folder)!r}\nguard_dir = {str(tmp_path / 'guard')!r}\n"
        config.write_text(places + text)
        control = disk.folder / "control.sock"
        with running_agent(config) as agent:
            before = until(control, lambda found: bool(found) and written(found["streams"]) > 0)
            disk.fail(Fault(Trouble.SYNC_FAILS))
            assert agent.wait(PATIENCE_S) == 1
            assert agent.stderr is not None
            assert "device-agent: expected spool.db to be written, came disk I/O error" in agent.stderr.read()
        disk.fail(Fault(Trouble.NONE))
        with running_agent(config):
            after = until(control, lambda found: bool(found) and written(found["streams"]) > written(before["streams"]))
        assert (after["spool"], after["room"]["is_disk_full"]) == ("ok", False)
