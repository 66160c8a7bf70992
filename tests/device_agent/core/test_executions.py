from __future__ import annotations

import uuid

import pytest

from device_agent.actions import CHECK_RETRIES
from device_agent.core.effects import JobDone, JobKind
from device_agent.core.executions import MAX_QUEUED
from device_agent.core.safe_moment import LOOK_AGAIN_S
from protocol.executions import CancelAnswer, ExecutionState
from protocol.records import Outcome, Phase
from protocol.safety import Condition
from tests.device_agent.core.desk import Desk
from tests.device_agent.core.invented import FAIL, OTHER, PASS

PAYING = frozenset({Condition.TRANSACTION_RUNNING})


def test_check_runs_at_once_and_succeeds_whatever_it_finds() -> None:
    desk = Desk()
    execution = desk.ask("test.look", level=2)
    assert desk.jobs[0].params == {"level": 2}
    desk.done(FAIL)
    assert desk.states(execution) == ["STORED", "RUNNING", "SUCCEEDED"]
    assert desk.last(execution).outcome is Outcome.FAIL
    assert desk.verdicts() == [(Phase.RESULT, Outcome.FAIL)]


def test_check_that_could_not_run_fails_with_its_code() -> None:
    desk = Desk()
    execution = desk.ask("test.look")
    desk.done(error="no_power")
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "no_power")


def test_check_that_nobody_answered_is_tried_again_as_often_as_it_declares() -> None:
    desk = Desk()
    execution = desk.ask("test.look")
    for tries in range(CHECK_RETRIES):
        desk.done(error="device_not_answering")
        assert (desk.last(execution).state, desk.last(execution).retries) == (ExecutionState.RUNNING, tries + 1)
        assert desk.jobs == []
        desk.pass_s(2.0**tries * 1.25)
        assert desk.jobs[0].kind is JobKind.CHECK
    desk.done(error="device_not_answering")
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "device_not_answering")
    assert desk.last(execution).retries == CHECK_RETRIES


def test_retried_check_that_is_answered_succeeds() -> None:
    desk = Desk()
    execution = desk.ask("test.look")
    desk.done(error="device_not_answering")
    desk.pass_s(2)
    desk.done(PASS)
    assert (desk.last(execution).state, desk.last(execution).outcome) == (ExecutionState.SUCCEEDED, Outcome.PASS)


def test_step_that_may_be_repeated_is_tried_again_and_one_that_may_not_is_not() -> None:
    desk = Desk()
    again = desk.up_to_step("test.mend")
    desk.done(error="device_not_answering")
    assert (desk.last(again).state, desk.last(again).retries) == (ExecutionState.RUNNING, 1)
    desk.pass_s(13)
    assert (desk.jobs[0].kind, desk.jobs[0].step_index) == (JobKind.STEP, 0)
    once = Desk()
    execution = once.up_to_step("test.once")
    once.done(error="device_not_answering")
    assert once.last(execution).state is ExecutionState.FAILED


def test_probeable_step_is_asked_about_before_it_is_tried_again() -> None:
    for happened, kind in ((True, JobKind.CHECK), (False, JobKind.STEP)):
        desk = Desk()
        desk.up_to_step("test.probe")
        desk.done(error="device_not_answering")
        desk.pass_s(13)
        assert desk.jobs[0].kind is JobKind.PROBE
        desk.done(probe=happened)
        assert desk.jobs[0].kind is kind


def test_fix_succeeds_only_when_its_check_still_passes_after_the_soak() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.mend")
    desk.done()
    desk.done()
    desk.done(PASS)
    assert desk.last(execution).state is ExecutionState.VERIFYING
    assert desk.last(execution).hold_until_ms == 60_000
    desk.pass_s(59)
    assert desk.jobs == []
    desk.pass_s(2)
    desk.done(PASS)
    assert desk.last(execution).state is ExecutionState.SUCCEEDED
    assert desk.verdicts() == [
        (Phase.PRE_CHECK, Outcome.FAIL),
        (Phase.POST_CHECK, Outcome.PASS),
        (Phase.POST_CHECK, Outcome.PASS),
    ]


def test_fault_that_comes_back_within_the_soak_fails_the_fix() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.probe")
    desk.done()
    desk.done(PASS)
    desk.pass_s(61)
    desk.done(FAIL)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "came_back")


def test_check_after_the_soak_that_cannot_be_run_proves_nothing_and_is_not_called_fixed() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.probe")
    desk.done()
    desk.done(PASS)
    desk.pass_s(61)
    desk.done(error="device_not_answering")
    assert desk.last(execution).state is ExecutionState.VERIFYING
    desk.pass_s(30)
    desk.done(error="device_not_answering")
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "post_check_error")


def test_another_device_that_answers_after_the_fix_proves_nothing() -> None:
    desk = Desk()
    execution = desk.ask("test.no_soak")
    desk.done(FAIL)
    desk.done(identity="SN-1")
    assert desk.jobs[0].guard is not None
    assert desk.jobs[0].guard.identity == "SN-1"
    desk.done()
    assert desk.jobs[0].identity == "SN-1"
    desk.done(error="other_device")
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "other_device")


def test_fix_without_an_outage_that_does_not_help_is_told_at_once_and_not_after_a_grace() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.no_soak")
    desk.done()
    desk.pass_s(1)
    desk.done(FAIL)
    assert desk.last(execution).code == "post_check_failed"


def test_check_after_an_outage_is_tried_again_until_the_grace_is_over() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.outage")
    desk.done()
    for _ in range(3):
        desk.done(FAIL)
        desk.pass_s(1)
    desk.done(PASS)
    assert desk.last(execution).state is ExecutionState.SUCCEEDED

    other = desk.up_to_step("test.outage")
    desk.done()
    desk.pass_s(100)
    desk.done(FAIL)
    assert desk.last(other).code == "post_check_failed"


def test_fix_that_is_not_needed_changes_nothing() -> None:
    desk = Desk()
    execution = desk.ask("test.mend")
    desk.done(PASS)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "not_needed")
    assert desk.jobs == []


def test_fix_that_is_not_needed_runs_when_asked_to_all_the_same() -> None:
    desk = Desk()
    desk.ask("test.mend", skip_if_passing=False)
    desk.done(PASS)
    desk.done()
    assert desk.jobs[0].kind is JobKind.STEP


def test_running_transaction_holds_a_fix_until_it_is_over() -> None:
    desk = Desk()
    execution = desk.ask("test.mend")
    desk.done(FAIL)
    desk.done(conditions=PAYING)
    assert desk.last(execution).state is ExecutionState.WAITING_SAFE
    assert desk.last(execution).holds == [Condition.TRANSACTION_RUNNING]
    desk.pass_s(LOOK_AGAIN_S)
    desk.done(conditions=PAYING)
    assert desk.states(execution).count("WAITING_SAFE") == 1
    desk.pass_s(LOOK_AGAIN_S)
    desk.done()
    # What was wrong before the wait is looked at once more.
    assert desk.jobs[0].kind is JobKind.CHECK
    desk.done(FAIL)
    desk.done()
    assert (desk.last(execution).state, desk.last(execution).holds) == (ExecutionState.RUNNING, [])


@pytest.mark.parametrize("error", ["", "transaction_running"])
def test_payment_that_begins_between_the_question_and_the_step_holds_it(error: str) -> None:
    """The worker's guard finds it, or the terminal itself refuses."""
    desk = Desk()
    execution = desk.up_to_step("test.once")
    desk.done(conditions=frozenset() if error else PAYING, error=error, is_begun=False)
    assert desk.last(execution).holds == [Condition.TRANSACTION_RUNNING]
    assert desk.jobs == []
    desk.restart()
    assert [job.kind for job in desk.jobs] == [JobKind.CHECK]
    desk.done(FAIL)
    desk.done()
    assert desk.jobs[0].kind is JobKind.STEP


def test_held_fix_expires_with_its_command() -> None:
    desk = Desk()
    execution = desk.ask("test.mend", not_after_s=20)
    desk.done(FAIL)
    desk.done(conditions=PAYING)
    desk.pass_s(21)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.EXPIRED, "not_safe_in_time")


def test_fix_that_would_destroy_money_is_refused() -> None:
    desk = Desk()
    execution = desk.ask("test.wipe")
    desk.done(FAIL)
    desk.done(conditions=frozenset({Condition.PAYMENTS_UNSENT}))
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.REJECTED, "unsafe")


def test_one_device_runs_one_fix_at_a_time_and_checks_beside_it() -> None:
    desk = Desk()
    desk.up_to_step("test.mend")
    second = desk.ask("test.mend")
    assert desk.states(second) == ["STORED"]
    check = desk.ask("test.look")
    assert desk.jobs[-1].execution == check
    other = desk.ask("test.mend", device=OTHER)
    assert desk.jobs[-1].execution == other


def test_next_fix_starts_when_the_one_before_it_ends() -> None:
    desk = Desk()
    first = desk.up_to_step("test.no_soak")
    second = desk.ask("test.mend")
    desk.done(error="no_power")
    assert desk.last(first).code == "no_power"
    assert [job.execution for job in desk.jobs] == [second]


def test_more_fixes_than_may_wait_are_refused_as_busy() -> None:
    desk = Desk()
    executions = [desk.ask("test.mend") for _ in range(MAX_QUEUED + 2)]
    assert desk.last(executions[-2]).state is ExecutionState.STORED
    assert (desk.last(executions[-1]).state, desk.last(executions[-1]).code) == (ExecutionState.REJECTED, "busy")


def test_cancel_before_the_first_step_ends_it_and_a_late_answer_changes_nothing() -> None:
    desk = Desk()
    execution = desk.ask("test.mend")
    desk.cancel(execution)
    assert desk.last(execution).state is ExecutionState.CANCELLED
    desk.done()
    assert desk.states(execution)[-1] == "CANCELLED"
    assert desk.jobs == []


def test_cancel_between_steps_is_honoured_after_the_present_step() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.mend")
    desk.cancel(execution)
    assert desk.last(execution).state is ExecutionState.RUNNING
    assert desk.last(execution).cancel is CancelAnswer.AFTER_STEP
    desk.done()
    assert desk.last(execution).state is ExecutionState.CANCELLED
    assert "after 1 of 2 steps" in desk.last(execution).detail
    assert desk.last(execution).code == "stopped_between_steps"


def test_test_that_is_running_refuses_to_be_ended() -> None:
    """Paper may be coming out already."""
    desk = Desk()
    execution = desk.ask("test.print")
    desk.done()
    desk.cancel(execution)
    assert (desk.last(execution).state, desk.last(execution).cancel) == (ExecutionState.RUNNING, CancelAnswer.REFUSED)


def test_cancel_in_the_last_step_is_refused() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.once")
    desk.cancel(execution)
    assert desk.last(execution).state is ExecutionState.RUNNING
    assert desk.last(execution).cancel is CancelAnswer.REFUSED
    desk.done()
    assert desk.last(execution).state is ExecutionState.VERIFYING


def test_cancel_that_overtakes_its_execution_ends_it_before_it_arrives() -> None:
    desk = Desk()
    execution = str(uuid.uuid4())
    desk.cancel(execution)
    assert desk.last(execution).state is ExecutionState.CANCELLED
    assert execution in desk.executions.known


def test_cancel_lets_the_next_fix_start() -> None:
    desk = Desk()
    first = desk.ask("test.mend")
    second = desk.ask("test.mend")
    desk.cancel(first)
    assert desk.jobs[-1].execution == second


def test_superseded_fix_ends_before_anything_was_changed() -> None:
    desk = Desk()
    first = desk.ask("test.mend")
    second = desk.ask("test.mend", supersedes=first)
    assert desk.last(first).state is ExecutionState.SUPERSEDED
    assert desk.jobs[-1].execution == second


def test_superseded_execution_that_arrives_after_its_successor_is_not_run() -> None:
    desk = Desk()
    old = str(uuid.uuid4())
    desk.ask("test.mend", supersedes=old)
    assert desk.last(old).state is ExecutionState.SUPERSEDED
    assert old in desk.executions.known


def test_time_runs_only_once_the_worker_has_begun() -> None:
    desk = Desk()
    execution = desk.ask("test.look")
    desk.pass_s(1000)
    assert desk.states(execution)[-1] == "RUNNING"
    desk.starts()
    desk.pass_s(11)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "timed_out")
    assert desk.abandoned == 1


def test_once_step_without_an_answer_ends_unknown() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.once")
    desk.starts()
    desk.pass_s(31)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.UNKNOWN, "timed_out")


def test_answer_to_an_earlier_job_changes_nothing() -> None:
    desk = Desk()
    execution = desk.ask("test.mend")
    late = desk.jobs[0]
    desk.done(FAIL)
    said = list(desk.said)
    stale = JobDone(late.execution, late.serial, PASS)
    desk.take(desk.executions.on_done(stale, desk.moment))
    assert desk.said == said
    desk.done()
    assert desk.last(execution).step == "step_0"
