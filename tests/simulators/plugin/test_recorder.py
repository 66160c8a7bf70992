from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from simulators.errors import FaultUnknown
from simulators.testing.bench import Bench
from simulators.testing.bench_terminal import FAMILIES, BenchTerminal
from simulators.testing.errors import ActionUnknown, FamilyUnknown, NotSeen
from simulators.testing.recorder import Recorder

pytestmark = pytest.mark.integration

MakeTerminal = Callable[..., BenchTerminal]
START_LIMIT_S = 5.0


@pytest.mark.parametrize(
    ("family", "fault", "code"),
    [
        ("zvt", "reader_dead", "zvt.E2"),
        ("escpos", "cover_open", "escpos.eot2.cover_open"),
        ("modem", "sim_dead", "cme.13"),
        ("e_sign", "clock_drift", "term.CLOCK_INVALID"),
        ("smart", "paper_out", "term.PRN_NO_PAPER"),
        ("traditional", "storage_log_growth", "term.STORAGE_FULL"),
        ("kiosk", "cover_open", "term.PRN_COVER"),
    ],
)
def test_a_fault_of_each_family_is_recorded_and_its_end_too(
    family: str, fault: str, code: str, tillmedic_terminal: MakeTerminal, tillmedic_recorder: Recorder
) -> None:
    terminal = tillmedic_terminal(family, fault=fault)
    seen = tillmedic_recorder.wait_for_fault(code, terminal)
    assert seen.is_open
    terminal.mend(fault)
    assert tillmedic_recorder.wait_until_cleared(code, terminal).cleared_at is not None
    assert tillmedic_recorder.past_faults


def test_a_recorder_with_a_terminal_starts_within_its_limit(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    try:
        began = time.process_time()
        bench.recorder().watch(bench.terminal("escpos"))
        # Of this process: what the machine does besides says nothing about us.
        assert time.process_time() - began < START_LIMIT_S
    finally:
        bench.stop()


def test_terminals_made_before_and_after_the_recorder_are_seen(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    try:
        before = bench.terminal("modem", fault="sim_dead")
        recorder = bench.recorder()
        after = bench.terminal("escpos", fault="paper_out")
        assert (
            recorder.wait_for_fault("cme.13", before).device
            != recorder.wait_for_fault("escpos.eot4.paper_end", after).device
        )
    finally:
        bench.stop()


def test_checks_tests_and_fixes_run_on_signed_commands(
    tillmedic_terminal: MakeTerminal, tillmedic_recorder: Recorder
) -> None:
    terminal = tillmedic_terminal("smart", fault="app_dead")
    assert tillmedic_recorder.run_check(terminal, "app.alive").outcome == "fail"
    assert tillmedic_recorder.run_check(terminal, "printer.print_test").succeeded
    fixed = tillmedic_recorder.run_fix(terminal, "app.restart")
    assert fixed.succeeded
    assert {verdict.phase for verdict in fixed.verdicts} == {"pre_check", "post_check"}
    assert "app_dead" not in terminal.faults()


def test_a_fix_that_is_not_needed_is_not_run(tillmedic_terminal: MakeTerminal, tillmedic_recorder: Recorder) -> None:
    result = tillmedic_recorder.run_fix(tillmedic_terminal("e_sign"), "app.restart")
    assert (result.state, result.code) == ("FAILED", "not_needed")


def test_readings_carry_the_names_of_the_catalogue(
    tillmedic_terminal: MakeTerminal, tillmedic_recorder: Recorder
) -> None:
    tillmedic_terminal("modem")
    assert tillmedic_recorder.wait_for_reading("modem.sim_state") == "ready"
    assert "modem.sim_state" in tillmedic_recorder.readings


def test_a_wait_in_vain_says_what_is_open_instead(
    tillmedic_terminal: MakeTerminal, tillmedic_recorder: Recorder
) -> None:
    tillmedic_terminal("escpos", fault="paper_out")
    tillmedic_recorder.wait_for_fault("escpos.eot4.paper_end")
    with pytest.raises(NotSeen, match=r"in vain for fault cme\.13; open faults: .*escpos\.eot4\.paper_end") as failure:
        tillmedic_recorder.wait_for_fault("cme.13", within_s=0.1)
    assert isinstance(failure.value, AssertionError)
    assert "escpos1: paper_out" in str(failure.value)


def test_an_unknown_action_is_answered_with_those_there_are(
    tillmedic_terminal: MakeTerminal, tillmedic_recorder: Recorder
) -> None:
    terminal = tillmedic_terminal("escpos")
    with pytest.raises(ActionUnknown, match=r"printer\.status"):
        tillmedic_recorder.run_check(terminal, "printer.guess")
    with pytest.raises(ActionUnknown, match="expected a fix"):
        tillmedic_recorder.run_fix(terminal, "printer.status")


def test_an_unknown_family_or_fault_is_refused_with_the_known_ones(tillmedic_terminal: MakeTerminal) -> None:
    with pytest.raises(FamilyUnknown, match=", ".join(FAMILIES)):
        tillmedic_terminal("toaster")
    with pytest.raises(FaultUnknown, match="paper_out"):
        tillmedic_terminal("escpos").break_("out_of_coffee")


def test_nothing_is_left_running_after_the_bench_stops(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    bench = Bench(tmp_path)
    bench.recorder()
    bench.terminal("zvt")
    bench.terminal("smart")
    bench.stop()
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
    assert left == []
