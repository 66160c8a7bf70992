"""The agent is killed as by a power cut at each boundary of a fix's steps; its journal decides what happens next."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocol.catalogue.vocabulary import TerminalClass
from protocol.executions import ExecutionState
from simulators.terminal import SimulatedTerminal
from tests.integration.agent.conftest import Site

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).parents[3]


@contextmanager
def running_terminal(socket: Path) -> Iterator[SimulatedTerminal]:
    terminal = SimulatedTerminal(TerminalClass.SMART, seed=3, socket_path=socket, trade_every_s=0)
    terminal.start()
    try:
        yield terminal
    finally:
        terminal.stop()


@contextmanager
def running_agent(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.integration.agent.agent_process", str(config)]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


def kill_within_fix(site: Site, folder: Path, action: str, moment: str) -> ExecutionState:
    """Runs the fix with a trap at ``moment``; answers how it ended after the agent was started again."""
    folder.mkdir()
    (folder / f"kill-{moment}").touch()
    fleet = site.fleet
    with running_terminal(site.folder.with_suffix(".sock")) as _terminal:
        config = site.config(f'[host]\nkind = "terminal"\nsocket = "{site.folder.with_suffix(".sock")}"\npoll_s = 1\n')
        with running_agent(config) as process:
            fleet.until(lambda: fleet.capabilities, "the capabilities arrive")
            command = fleet.fix(action, folder=str(folder))
            fleet.send(command)
            process.wait(25)
        with running_agent(config):
            final = fleet.until(
                lambda: [one for one in fleet.reports(command.execution) if one.state not in RUNNING], "the fix ends"
            )
    assert len({one.state for one in final}) == 1
    state: ExecutionState = final[0].state
    return state


RUNNING = {ExecutionState.STORED, ExecutionState.WAITING_SAFE, ExecutionState.RUNNING, ExecutionState.VERIFYING}


@pytest.mark.parametrize(
    ("moment", "prepared"), [("before-prepare", 1), ("after-prepare", 2), ("before-mend", 1), ("after-mend", 1)]
)
def test_probeable_step_takes_effect_once_wherever_the_agent_is_killed(
    make_site: Callable[[str], Site], tmp_path: Path, moment: str, prepared: int
) -> None:
    site = make_site(f"gw-kill-{moment}")

    state = kill_within_fix(site, tmp_path / "work", "test.mend", moment)

    assert state is ExecutionState.SUCCEEDED
    assert (tmp_path / "work" / "mends").read_text() == "x"
    assert (tmp_path / "work" / "prepared").read_text() == "x" * prepared


@pytest.mark.parametrize(("moment", "mends"), [("before-mend", 0), ("after-mend", 1)])
def test_once_step_that_was_interrupted_is_never_run_again_and_ends_unknown(
    make_site: Callable[[str], Site], tmp_path: Path, moment: str, mends: int
) -> None:
    site = make_site(f"gw-once-{moment}")

    state = kill_within_fix(site, tmp_path / "work", "test.mend_once", moment)

    assert state is ExecutionState.UNKNOWN
    log = tmp_path / "work" / "mends"
    assert (log.read_text() if log.exists() else "") == "x" * mends
