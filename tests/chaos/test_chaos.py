"""The short form of `make chaos`: two runs that must end well, and one with a broken server that must not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
