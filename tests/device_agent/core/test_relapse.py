from __future__ import annotations

import pytest

from device_agent.actions import Finding
from protocol.executions import WATCHED_FOR, ExecutionState
from protocol.records import Outcome
from tests.device_agent.core.desk import Desk
from tests.device_agent.core.invented import CURES, FAIL, OTHER, PASS

DEAD, LOW = CURES
DAY_S = WATCHED_FOR.total_seconds()


def mended(desk: Desk, *, found: tuple[Finding, ...] = FAIL, action: str = "test.probe") -> str:
    """A fix that has been proved."""
    execution = desk.ask(action)
    desk.done(found)
    desk.done()
    desk.done()
    desk.open_faults.clear()
    desk.done(PASS)
    desk.pass_s(61)
    desk.done(PASS)
    assert told(desk, execution) == (ExecutionState.SUCCEEDED, "")
    return execution


def told(desk: Desk, execution: str) -> tuple[ExecutionState, str]:
    return desk.last(execution).state, desk.last(execution).code


CAME_BACK = (ExecutionState.SUCCEEDED, "came_back")
FIXED = (ExecutionState.SUCCEEDED, "")


def test_fault_that_a_fix_was_for_is_told_when_it_comes_back_and_only_once() -> None:
    desk = Desk(open_faults=[DEAD])
    execution = mended(desk)
    desk.pass_s(3600)
    desk.raised(DEAD)
    assert told(desk, execution) == CAME_BACK
    assert desk.last(execution).detail == f"{DEAD} was seen again"
    count = len(desk.states(execution))
    desk.raised(DEAD)
    assert len(desk.states(execution)) == count


def test_code_that_only_the_check_before_told_is_watched_for_as_well() -> None:
    desk = Desk()
    execution = mended(desk, found=(Finding(Outcome.FAIL, codes=(LOW,)),))  # type: ignore[arg-type]  # a code as text
    desk.raised(LOW)
    assert told(desk, execution) == CAME_BACK


@pytest.mark.parametrize("code", [LOW, "escpos.PAPER_OUT"])
def test_fault_that_the_device_did_not_have_or_that_no_fix_of_this_kind_cures_is_no_return(code: str) -> None:
    desk = Desk(open_faults=[DEAD, "escpos.PAPER_OUT"])
    execution = mended(desk)
    desk.raised(code)
    assert told(desk, execution) == FIXED


def test_fault_of_another_device_is_no_return() -> None:
    desk = Desk(open_faults=[DEAD])
    execution = mended(desk)
    desk.raised(DEAD, device=OTHER)
    assert told(desk, execution) == FIXED


def test_it_is_watched_for_over_restarts_and_for_a_day() -> None:
    desk = Desk(open_faults=[DEAD])
    execution = mended(desk)
    desk.restart()
    desk.pass_s(DAY_S - 60)
    desk.restart()
    desk.raised(DEAD)
    assert told(desk, execution) == CAME_BACK
    late = Desk(open_faults=[DEAD])
    execution = mended(late)
    late.pass_s(DAY_S + 1)
    late.raised(DEAD)
    assert told(late, execution) == FIXED


def test_what_was_told_survives_a_restart_and_answers_a_command_that_comes_again() -> None:
    desk = Desk(open_faults=[DEAD])
    execution = mended(desk)
    desk.raised(DEAD)
    desk.restart()
    desk.said.clear()
    desk.said += desk.executions.answer_known(execution)  # type: ignore[arg-type]  # ids as text
    assert told(desk, execution) == CAME_BACK
    desk.raised(DEAD)
    assert len(desk.states(execution)) == 1


def test_count_told_after_the_end_of_what_happened_before_it_is_no_return() -> None:
    desk = Desk(open_faults=[DEAD])
    execution = mended(desk)
    desk.pass_s(59)
    desk.raised(DEAD, count=3)
    assert told(desk, execution) == FIXED
    desk.pass_s(2)
    desk.raised(DEAD, count=4)
    assert told(desk, execution) == CAME_BACK


def test_what_another_fix_makes_look_like_a_fault_is_no_return() -> None:
    desk = Desk(open_faults=[DEAD])
    first = mended(desk)
    desk.up_to_step("test.reboot")
    desk.raised(DEAD)
    assert told(desk, first) == FIXED


def test_fix_that_was_not_proved_is_not_watched() -> None:
    desk = Desk(open_faults=[DEAD])
    execution = desk.up_to_step("test.no_soak")
    desk.done()
    desk.done(FAIL)
    desk.pass_s(2)
    desk.done(FAIL)
    desk.raised(DEAD)
    assert told(desk, execution) == (ExecutionState.FAILED, "post_check_failed")


def test_faults_that_a_fix_is_for_are_those_of_its_beginning_also_after_a_step_was_tried_again() -> None:
    desk = Desk(open_faults=[DEAD])
    execution = desk.up_to_step("test.mend")
    desk.done()
    desk.open_faults.clear()
    desk.done(error="device_not_answering", is_begun=False)
    desk.pass_s(13)
    desk.done()
    desk.done()
    desk.done(PASS)
    desk.pass_s(61)
    desk.done(PASS)
    desk.raised(DEAD)
    assert told(desk, execution) == CAME_BACK
