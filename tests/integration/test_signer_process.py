"""The signer as a process of its own, beside the others: who has its key, and what happens while it is away."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.integration.test_server_run import Server, server, wait_for

pytestmark = pytest.mark.integration
__all__ = ["server"]


def test_no_other_process_has_or_needs_the_command_key(server: Server) -> None:
    """With the key gone from the disk, all others start anew and come up: whoever read it would have failed."""
    key = server.data / "signer" / "command.seed"
    assert key.stat().st_mode & 0o077 == 0
    hidden = key.with_name("hidden")
    key.rename(hidden)
    before = server.children()
    killed = ("api", "ingest", "scheduler")
    for name in killed:
        os.kill(before[name], signal.SIGKILL)
    wait_for(lambda: all(server.children().get(name, before[name]) != before[name] for name in killed))
    wait_for(lambda: server.get("/readyz")[0] == 200)
    assert server.children()["signer"] == before["signer"]
    holders = {name for name, pid in server.children().items() if opens(pid, server.data / "signer")}
    assert holders <= {"signer"}
    hidden.rename(key)


def opens(pid: int, folder: Path) -> list[str]:
    return [one.path for one in psutil.Process(pid).open_files() if Path(one.path).is_relative_to(folder)]


def test_what_is_asked_while_the_signer_is_away_waits_and_says_so(server: Server) -> None:
    devices = json.loads(server.get("/api/v1/devices")[1])["items"]
    assert devices
    signer = server.children()["signer"]
    os.kill(signer, signal.SIGSTOP)
    try:
        wait_for(lambda: server.get("/readyz")[0] == 503)
    finally:
        os.kill(signer, signal.SIGCONT)
    wait_for(lambda: server.get("/readyz")[0] == 200)
    os.kill(signer, signal.SIGKILL)
    wait_for(lambda: server.children().get("signer", signer) != signer)
    wait_for(lambda: server.get("/readyz")[0] == 200)
