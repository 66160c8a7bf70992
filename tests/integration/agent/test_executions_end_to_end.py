"""Commands over a real broker to a real agent with a simulated terminal: what is said of them, and what was done."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from protocol.commands import CANCEL
from protocol.executions import ExecutionState
from protocol.records import Outcome, Phase, SecurityEvent
from protocol.signing import SigningKey
from tests.integration.agent.conftest import Site
from tests.integration.agent.test_kill import running_terminal

pytestmark = pytest.mark.integration


@pytest.fixture
def site(make_site: Callable[[str], Site], tmp_path: Path) -> Iterator[Site]:
    """An agent on a simulated terminal, welcomed."""
    site = make_site(f"gw-{uuid.uuid4().hex[:12]}")
    socket = tmp_path / "service.sock"
    with running_terminal(socket):
        site.start_agent(f'[host]\nkind = "terminal"\nsocket = "{socket}"\npoll_s = 0.5\n')
        site.fleet.until(lambda: site.fleet.capabilities, "the capabilities arrive")
        yield site
        site.stop_agents()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def ended(site: Site, execution: str) -> ExecutionState:
    """The final state, once said."""
    final = site.fleet.until(
        lambda: [one for one in site.fleet.reports(execution) if one.state not in OPEN], f"{execution} ends"
    )
    state: ExecutionState = final[0].state
    return state


OPEN = {ExecutionState.STORED, ExecutionState.WAITING_SAFE, ExecutionState.RUNNING, ExecutionState.VERIFYING}


def test_fix_tells_each_step_and_is_proved_by_its_check(site: Site, work: Path) -> None:
    command = site.fleet.fix("test.mend", folder=str(work))
    site.fleet.send(command)
    assert ended(site, command.execution) is ExecutionState.SUCCEEDED
    assert [one.step for one in site.fleet.reports(command.execution) if one.state == "RUNNING"] == [
        "prepare",
        "mend",
    ]
    assert [(one.phase, one.outcome) for one in site.fleet.verdicts(command.execution)] == [
        (Phase.PRE_CHECK, Outcome.FAIL),
        (Phase.POST_CHECK, Outcome.PASS),
        (Phase.POST_CHECK, Outcome.PASS),
    ]


def test_fix_that_is_not_needed_changes_nothing(site: Site, work: Path) -> None:
    (work / "mended").touch()
    command = site.fleet.fix("test.mend", folder=str(work))
    site.fleet.send(command)
    assert ended(site, command.execution) is ExecutionState.FAILED
    assert site.fleet.reports(command.execution)[-1].code == "not_needed"
    assert not (work / "prepared").exists()


def test_step_that_fails_says_why_without_card_data(site: Site, work: Path) -> None:
    command = site.fleet.fix("test.mend_fails", folder=str(work))
    site.fleet.send(command)
    assert ended(site, command.execution) is ExecutionState.FAILED
    report = site.fleet.reports(command.execution)[-1]
    assert report.code == "no_power"
    assert "4111111111111111" not in report.detail


def test_check_that_hangs_ends_in_its_declared_time_and_others_go_on(site: Site) -> None:
    hangs, quick = site.fleet.check("test.hangs"), site.fleet.check("test.quick")
    site.fleet.send(hangs)
    site.fleet.send(quick)
    assert ended(site, hangs.execution) is ExecutionState.FAILED
    assert site.fleet.reports(hangs.execution)[-1].code == "timed_out"
    assert ended(site, quick.execution) is ExecutionState.SUCCEEDED


def test_cancelled_check_ends_at_once(site: Site) -> None:
    hangs = site.fleet.check("test.waits_long")
    site.fleet.send(hangs)
    site.fleet.until(lambda: "RUNNING" in site.fleet.states(hangs.execution), "the check runs")
    site.fleet.send(site.fleet.check(CANCEL, execution=hangs.execution))
    assert ended(site, hangs.execution) is ExecutionState.CANCELLED


def test_forged_replayed_and_stale_commands_do_nothing_and_are_told(site: Site, work: Path) -> None:
    fleet = site.fleet
    good = fleet.fix("test.mend", folder=str(work))
    fleet.send(good, key=SigningKey.from_seed(b"x" * 32))
    fleet.send(msgspec.structs.replace(good, execution=str(uuid.uuid4()), nonce="0" * 32))
    fleet.send(msgspec.structs.replace(fleet.check("test.quick"), not_after_ms=1))
    fleet.until(lambda: len(fleet.bodies(SecurityEvent)) == 3, "three refusals are told")
    assert {one.code for one in fleet.bodies(SecurityEvent)} == {
        "command.signature",
        "command.session_nonce",
        "command.too_late",
    }
    assert list(work.iterdir()) == []


def test_local_command_line_reads_but_starts_no_fix(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    from device_agent.__main__ import main

    config = ["--config", str(site.folder / "agent.toml")]
    assert main(["check", "test.quick", *config]) == 0
    assert main(["check", "test.mend", "folder=x", *config]) == 1
    assert main(["status", *config]) == 0
    assert main(["fixes", *config]) == 0
    assert main(["doctor", *config]) == 0
    said = capsys.readouterr().out
    assert "4111111111111111" not in said
    assert "expected a device here and one of its checks" in said
    assert f"{site.link}: established" in said
    assert "of 32.0 MiB used (0 %), file is sound" in said
    assert "gaps: none" in said
    assert "fix   test.mend [folder]" in said
