from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet_server.supervisor import RestartDelay

DEADLINE_S = 20.0
OWNER = """
import sys
from pathlib import Path
from fleet_server.errors import FleetError
from fleet_server.supervisor import ChildSpec, Supervisor

folder = Path(sys.argv[1])
specs = [ChildSpec(path.stem, [sys.executable, "-u", str(path)]) for path in sorted(folder.glob("*.py"))]
try:
    Supervisor(
        specs, folder, is_ready=(folder / "ready").exists, say=lambda words: print(words, flush=True), on_ready="Ready"
    ).run()
except FleetError as error:
    print(error, flush=True)
    sys.exit(2)
"""
STEADY = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def wait_for(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at, "deadline passed"
        time.sleep(0.02)


def pids(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.integration
def test_a_child_that_dies_is_started_again_and_all_end_on_sigterm(
    tmp_path: Path, owner: Callable[[], subprocess.Popen[str]]
) -> None:
    (tmp_path / "steady.py").write_text(STEADY)
    (tmp_path / "ready").touch()
    process = owner()
    log = tmp_path / "steady.log"
    wait_for(lambda: len(pids(log)) == 1)
    os.kill(pids(log)[0], signal.SIGKILL)
    wait_for(lambda: len(pids(log)) == 2)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "Ready" in said
    assert "steady ended with -9, starts again in 1 s" in said
    assert not any(map(is_alive, pids(log)))


@pytest.mark.integration
def test_ctrl_c_stops_cleanly(tmp_path: Path, owner: Callable[[], subprocess.Popen[str]]) -> None:
    (tmp_path / "steady.py").write_text(STEADY)
    process = owner()
    wait_for(lambda: len(pids(tmp_path / "steady.log")) == 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert not is_alive(pids(tmp_path / "steady.log")[0])


@pytest.mark.integration
def test_a_refusal_at_the_start_ends_everything_with_its_sentence(
    tmp_path: Path, owner: Callable[[], subprocess.Popen[str]]
) -> None:
    (tmp_path / "a_steady.py").write_text(STEADY)
    (tmp_path / "b_refusing.py").write_text("import sys; print('the tea is cold'); sys.exit(2)")
    process = owner()
    said, _ = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, said) == (2, "the tea is cold\n")
    assert not any(map(is_alive, pids(tmp_path / "a_steady.log")))


@pytest.mark.integration
def test_children_end_when_their_owner_is_killed(tmp_path: Path, owner: Callable[[], subprocess.Popen[str]]) -> None:
    (tmp_path / "steady.py").write_text(STEADY)
    process = owner()
    wait_for(lambda: len(pids(tmp_path / "steady.log")) == 1)
    (child,) = pids(tmp_path / "steady.log")
    assert is_alive(child)
    process.kill()
    wait_for(lambda: not is_alive(child))
    assert pids(tmp_path / "steady.log") == [child]


def test_the_delay_doubles_from_death_to_death_up_to_half_a_minute() -> None:
    delay = RestartDelay()
    assert [delay.after_death(0.1) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_minute_of_health_forgets_earlier_deaths() -> None:
    delay = RestartDelay()
    for _ in range(5):
        delay.after_death(0.1)
    assert delay.after_death(60.0) == 1
