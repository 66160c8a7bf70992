from __future__ import annotations

import pytest

from device_agent.actions import Finding
from device_agent.core.hours import Hours
from device_agent.core.safe_moment import LOOK_AGAIN_S
from protocol.executions import ExecutionState
from protocol.safety import Condition
from tests.device_agent.core.desk import Desk
from tests.device_agent.core.invented import FAIL, OTHER, PASS

PAYING = frozenset({Condition.TRANSACTION_RUNNING})


def test_fix_that_is_not_needed_any_more_after_its_wait_changes_nothing() -> None:
    desk = Desk()
    execution = desk.ask("test.mend")
    desk.done(FAIL)
    desk.done(conditions=PAYING)
    desk.pass_s(LOOK_AGAIN_S)
    desk.done()
    desk.done(PASS)
    assert desk.last(execution).code == "not_needed"


def test_cancel_while_a_fix_is_held_between_its_steps_says_that_something_was_done() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.mend")
    desk.done()
    desk.done(conditions=PAYING, is_begun=False)
    desk.cancel(execution)
    assert (desk.last(execution).state, desk.last(execution).code) == (
        ExecutionState.CANCELLED,
        "stopped_between_steps",
    )


def test_override_lets_a_fix_begin_and_says_what_it_did_not_wait_for() -> None:
    desk = Desk()
    execution = desk.ask("test.reboot", override_holds=True)
    desk.done(FAIL)
    desk.done(conditions=frozenset({Condition.BATCH_OPEN, Condition.PAYMENTS_UNSENT}))
    assert desk.last(execution).state is ExecutionState.RUNNING
    assert desk.last(execution).overridden == [Condition.BATCH_OPEN, Condition.PAYMENTS_UNSENT]
    paying = desk.ask("test.reboot", device=OTHER, override_holds=True)
    desk.jobs.pop(0)
    desk.done(FAIL)
    desk.done(conditions=PAYING)
    assert desk.last(paying).state is ExecutionState.WAITING_SAFE


@pytest.mark.parametrize(("found", "is_forced"), [(PASS, True), (FAIL, False)])
def test_only_a_fix_whose_check_before_passed_is_forced(found: tuple[Finding, ...], *, is_forced: bool) -> None:
    desk = Desk()
    execution = desk.ask("test.mend", skip_if_passing=False)
    desk.done(found)
    desk.done()
    assert desk.last(execution).state is ExecutionState.RUNNING
    assert desk.last(execution).is_forced is is_forced
    desk.done(error="no_answer")
    assert desk.last(execution).is_forced is is_forced


def test_a_fix_that_became_needed_while_it_waited_is_forced_no_more() -> None:
    desk = Desk()
    execution = desk.ask("test.mend", skip_if_passing=False)
    desk.done(PASS)
    desk.done(conditions=PAYING)
    assert desk.last(execution).is_forced
    desk.pass_s(LOOK_AGAIN_S)
    desk.done()
    desk.done(FAIL)
    desk.done()
    assert (desk.last(execution).state, desk.last(execution).is_forced) == (ExecutionState.RUNNING, False)


def test_maintenance_window_holds_a_reboot_and_says_when_it_opens() -> None:
    window = Hours(120, 300, lambda _at_ms: 8 * 3600)
    desk = Desk(hours=window)
    # 1970-01-01T08:00 in Shanghai: it opens in 18 hours.
    execution = desk.ask("test.reboot", not_after_s=86_400)
    desk.done(FAIL)
    desk.done()
    assert desk.last(execution).holds == [Condition.OUTSIDE_WINDOW]
    assert desk.last(execution).earliest_start_ms == 18 * 3600 * 1000
    desk.pass_s(18 * 3600)
    desk.done()
    desk.done(FAIL)
    desk.done()
    assert desk.last(execution).state is ExecutionState.RUNNING
