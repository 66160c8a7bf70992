"""A terminal's faults and fixes through the whole real agent: signed command, core, driver, service on a socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from protocol.commands import ActionKind
from simulators.testing.bench import Bench
from simulators.testing.bench_terminal import BenchTerminal
from simulators.testing.recorder import Recorder

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with TemporaryDirectory(prefix="tm-") as folder:
        made = Bench(Path(folder))
        yield made
        made.stop()


@pytest.fixture(scope="module")
def recorder(bench: Bench) -> Recorder:
    return bench.recorder()


@pytest.fixture(scope="module")
def terminal(bench: Bench, recorder: Recorder) -> BenchTerminal:
    return bench.terminal("e_sign")


def test_every_check_runs_and_finds_a_healthy_terminal_healthy(recorder: Recorder, terminal: BenchTerminal) -> None:
    (watched,) = recorder._watched
    for name in watched.link.actions(watched.device):
        declared = watched.link.action(watched.device, name)
        if declared is not None and declared.kind is ActionKind.CHECK:
            result = recorder.run_check(terminal, name)
            assert (result.state, result.outcome) == ("SUCCEEDED", "pass"), (name, result)


@pytest.mark.parametrize(
    ("fix", "fault", "code"),
    [
        ("app.restart", "app_dead", "agent.APP_DEAD"),
        ("queue.send", "queue_stuck", "agent.UPLOAD_STUCK"),
        ("batch.settle", "batch_full", "term.BATCH_FULL"),
        ("sign_in.renew", "sign_in_expired", "term.SIGN_IN_NEEDED"),
        ("device.reboot", "app_dead", "agent.APP_DEAD"),
    ],
)
def test_fix_succeeds_by_its_check_and_ends_the_fault(
    recorder: Recorder, terminal: BenchTerminal, fix: str, fault: str, code: str
) -> None:
    terminal.break_(fault)
    recorder.wait_for_fault(code)
    result = recorder.run_fix(terminal, fix)
    assert (result.state, result.code) == ("SUCCEEDED", ""), result
    assert terminal.faults() == frozenset()
    recorder.wait_until_cleared(code)


def test_a_fix_that_is_not_needed_changes_nothing_and_says_so(recorder: Recorder, terminal: BenchTerminal) -> None:
    result = recorder.run_fix(terminal, "logs.purge")
    assert (result.state, result.code) == ("FAILED", "not_needed")


def test_a_response_code_in_the_applications_log_becomes_a_fault(recorder: Recorder, terminal: BenchTerminal) -> None:
    terminal.break_("merchant_disabled")
    fault = recorder.wait_for_fault("unionpay39.03")
    assert "field39=03" in fault.evidence
    terminal.mend()
    # The next payment is approved.
    recorder.wait_until_cleared("unionpay39.03")


def test_no_card_number_of_the_log_leaves_the_agent(recorder: Recorder, terminal: BenchTerminal) -> None:
    result = recorder.run_check(terminal, "app.log_tail", lines=50)
    assert result.verdicts
    assert not any("4111111111111111" in verdict.evidence for verdict in result.verdicts)
