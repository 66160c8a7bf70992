"""The short form of `make chaos`: two runs that must end well, one with a broken server that must not, and two side by
side that are broken off.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from simulators.broker import BrokerMissing, find_mosquitto
from tests.chaos.ledger import Ledger, Line
from tests.chaos.processes import REPOSITORY
from tests.chaos.site import databases
from tests.support.required import missing

pytestmark = [pytest.mark.integration, pytest.mark.postgres]
# On SQLite, then on PostgreSQL: agents and a worker are killed, others are stopped, lines are bad.
FIRST_SEED = 44
SHORT = ("--records", "800", "--faults", "4", "--feed-s", "4")
WITHIN_S = 280
_POLL_S = 0.1


@pytest.fixture(autouse=True)
def _broker_is_there() -> None:
    try:
        find_mosquitto()
    except BrokerMissing as error:
        missing(str(error))


def chaos(ledger: Path, *words: str) -> tuple[int, list[Line]]:
    command = [sys.executable, "-m", "tests.chaos", "run", *SHORT, "--ledger", str(ledger), *words]
    # Unix sockets need short paths, so that it makes a folder of its own.
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    lines = list(Ledger(ledger).lines.values())
    assert done.returncode in {0, 1}, done.stderr[-3000:]
    return done.returncode, lines


def test_what_agents_kept_is_in_the_database_once_whatever_dies(tmp_path: Path) -> None:
    if databases():
        missing("; ".join(databases().values()))
    exit_code, lines = chaos(tmp_path / "ledger.jsonl", "--runs", "2", "--seed", str(FIRST_SEED))
    assert [line.violations for line in lines] == [[], []]
    assert exit_code == 0
    assert all(line.stored >= line.records - line.declared > 700 for line in lines)


def test_a_server_that_acknowledges_before_it_commits_is_found(tmp_path: Path) -> None:
    words = ("--runs", "1", "--seed", str(FIRST_SEED), "--ingest", "tests.chaos.broken_ingest")
    exit_code, [line] = chaos(tmp_path / "ledger.jsonl", *words)
    assert exit_code == 1
    assert "ack_ahead" in {violation.partition(" ")[0] for violation in line.violations}


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Unix sockets need short paths."""
    folder = Path(tempfile.mkdtemp(prefix="t.", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_ctrl_c_leaves_nothing_of_runs_side_by_side(tmp_path: Path, short_folder: Path) -> None:
    if databases():
        missing("; ".join(databases().values()))
    ledger = tmp_path / "ledger.jsonl"
    command = [sys.executable, "-m", "tests.chaos", "run", "--ledger", str(ledger), "--runs", "4", "--jobs", "2"]
    environment = os.environ | {"TMPDIR": str(short_folder)}
    said = tmp_path / "said.txt"
    with said.open("wb") as stdout:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=stdout, process_group=0)
    try:
        wait_until(
            lambda: process.poll() is not None or both_are_in_a_run(short_folder),
            lambda: f"{[(str(place), at_work(place)) for place in short_folder.iterdir()]}\n{said.read_text('utf-8')}",
        )
        assert process.returncode is None, said.read_text("utf-8")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(WITHIN_S) == 130
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not at_work(short_folder), lambda: "\n".join(at_work(short_folder)))
    assert list(short_folder.iterdir()) == []
    assert not ledger.exists()


def both_are_in_a_run(folder: Path) -> bool:
    """Each with a server that runs, so that there is something to leave behind. A run that was not made is none."""
    return sum(any(" signer " in line for line in at_work(place)) for place in folder.iterdir()) == 2


def at_work(place: Path) -> list[str]:
    """What runs from there."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(place) in line]


def wait_until(holds: Callable[[], bool], seen: Callable[[], str]) -> None:
    give_up_at = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < give_up_at, f"waited in vain; at last there was {seen()}"
        time.sleep(_POLL_S)
