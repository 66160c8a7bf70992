from __future__ import annotations

from device_agent.core.effects import JobKind
from device_agent.core.executions import Executions
from protocol.executions import ExecutionState
from protocol.identifiers import ExecutionId
from protocol.records import ExecutionReport, Outcome
from tests.device_agent.core.desk import Desk
from tests.device_agent.core.invented import DEVICE, OTHER, PASS


def test_idempotent_step_runs_again_after_a_crash() -> None:
    desk = Desk()
    desk.up_to_step("test.mend")
    desk.done()
    desk.restart()
    assert (desk.jobs[0].kind, desk.jobs[0].step_index) == (JobKind.STEP, 1)


def test_probeable_step_is_asked_about_after_a_crash() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.probe")
    desk.restart()
    assert desk.jobs[0].kind is JobKind.PROBE
    desk.done(probe=True)
    assert desk.last(execution).state is ExecutionState.VERIFYING


def test_probeable_step_that_did_not_happen_runs_again() -> None:
    desk = Desk()
    desk.up_to_step("test.probe")
    desk.restart()
    desk.done(probe=False)
    assert desk.jobs[0].kind is JobKind.STEP


def test_once_step_never_runs_again_after_a_crash() -> None:
    for probe in (False, None):
        desk = Desk()
        execution = desk.up_to_step("test.once")
        desk.restart()
        desk.done(probe=probe)
        assert desk.last(execution).state is ExecutionState.UNKNOWN
        assert desk.jobs == []


def test_changed_boot_proves_a_reboot_also_when_the_device_is_slow_to_come_up() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.reboot")
    desk.restart()
    desk.done(error="device_not_answering")
    desk.pass_s(1)
    desk.done(boot="boot-2")
    assert desk.last(execution).state is ExecutionState.VERIFYING


def test_same_boot_is_watched_for_as_long_as_a_reboot_takes_and_then_it_did_not_happen() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.reboot")
    desk.restart()
    desk.done(boot="boot-1")
    assert desk.last(execution).state is ExecutionState.RUNNING
    desk.pass_s(1)
    desk.done(boot="boot-1")
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.FAILED, "not_restarted")
    assert desk.jobs == []


def test_reboot_of_a_device_that_does_not_tell_its_boot_is_unknown() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.reboot")
    desk.restart()
    desk.done(boot="")
    assert desk.last(execution).state is ExecutionState.UNKNOWN


def test_soak_goes_on_after_a_restart() -> None:
    desk = Desk()
    execution = desk.up_to_step("test.probe")
    desk.done()
    desk.done(PASS)
    desk.pass_s(30)
    desk.restart()
    desk.done(PASS)
    desk.pass_s(29)
    assert desk.jobs == []
    desk.pass_s(2)
    desk.done(PASS)
    assert desk.last(execution).state is ExecutionState.SUCCEEDED


def test_test_that_was_interrupted_ends_unknown() -> None:
    desk = Desk()
    execution = desk.ask("test.print")
    desk.done()
    desk.restart()
    assert desk.last(execution).state is ExecutionState.UNKNOWN


def test_check_that_was_interrupted_runs_again() -> None:
    desk = Desk()
    execution = desk.ask("test.look")
    desk.restart()
    assert desk.jobs[0].execution == execution


def test_action_that_is_gone_after_an_update_fails_by_name() -> None:
    desk = Desk()
    execution = ExecutionId(desk.ask("test.mend"))
    desk.executions = Executions({DEVICE: {}, OTHER: {}}, desk.rows)
    desk.take(desk.executions.recover(desk.moment))
    assert desk.last(execution).code == "unknown_action"


def test_finished_execution_is_answered_from_its_row_after_a_restart() -> None:
    desk = Desk()
    execution = ExecutionId(desk.ask("test.look"))
    desk.done(PASS)
    desk.restart()
    (report,) = desk.executions.answer_known(execution)
    assert isinstance(report, ExecutionReport)
    assert (report.state, report.outcome) == (ExecutionState.SUCCEEDED, Outcome.PASS)


def marked_test(desk: Desk) -> str:
    """It was begun, and the device had told what will show whether it ran; then the agent died."""
    execution = desk.ask("test.print")
    desk.done(mark="48211", identity="PS1")
    assert desk.jobs.pop().kind is JobKind.CHECK
    desk.restart()
    job = desk.jobs[0]
    assert (job.kind, job.mark, job.identity) == (JobKind.PROBE, "48211", "PS1")
    return execution


def test_a_test_that_is_seen_to_have_run_ends_with_what_it_found() -> None:
    desk = Desk()
    execution = marked_test(desk)
    desk.done(PASS, probe=True)
    assert (desk.last(execution).state, desk.last(execution).outcome) == (ExecutionState.SUCCEEDED, Outcome.PASS)
    assert desk.jobs == []


def test_a_test_that_is_seen_not_to_have_run_is_begun_again_at_a_safe_moment() -> None:
    desk = Desk()
    execution = marked_test(desk)
    desk.done(probe=False)
    kinds = [desk.jobs[0].kind]
    desk.done(mark="48211")
    kinds.append(desk.jobs[0].kind)
    assert kinds == [JobKind.CONDITIONS, JobKind.CHECK]
    desk.done(PASS)
    assert desk.last(execution).state is ExecutionState.SUCCEEDED


def test_a_test_of_which_nobody_can_tell_is_unknown_and_never_runs_again() -> None:
    desk = Desk()
    execution = marked_test(desk)
    desk.done(probe=None)
    assert (desk.last(execution).state, desk.last(execution).code) == (ExecutionState.UNKNOWN, "interrupted")
    assert desk.jobs == []


def test_a_device_that_is_silent_right_after_the_crash_is_asked_again_before_it_is_unknown() -> None:
    desk = Desk()
    execution = marked_test(desk)
    desk.done(error="device_not_answering")
    desk.pass_s(1)
    assert desk.jobs[0].kind is JobKind.PROBE
    desk.pass_s(5)
    desk.done(error="device_not_answering")
    assert desk.last(execution).state is ExecutionState.UNKNOWN


def test_an_agent_that_dies_while_it_asks_asks_once_more() -> None:
    desk = Desk()
    marked_test(desk)
    desk.restart()
    assert [job.kind for job in desk.jobs] == [JobKind.PROBE]
