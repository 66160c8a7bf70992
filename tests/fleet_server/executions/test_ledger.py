from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleet_server.executions import ledger
from fleet_server.executions.ledger import Heard, Standing, Terms
from fleet_server.kit.times import to_ms
from protocol.commands import QUEUE_EXPIRY, ActionKind
from protocol.executions import (
    CAME_BACK_CODE,
    DEVICE_STATES,
    FINAL,
    CancelAnswer,
    ExecutionState,
    Result,
    may_follow,
)
from protocol.records import ExecutionReport, Outcome
from protocol.safety import Condition
from tests.fleet_server.factories import NOON

S = ExecutionState
EXECUTION = "0198d0a0-0000-7000-8000-000000000001"
CHECK = Terms(ActionKind.CHECK, 10.0, 60.0, NOON + QUEUE_EXPIRY[ActionKind.CHECK])
FIX = Terms(ActionKind.FIX, 120.0, 60.0, NOON + QUEUE_EXPIRY[ActionKind.FIX])
SECOND = timedelta(seconds=1)


def report(state: ExecutionState, **more: object) -> ExecutionReport:
    return ExecutionReport(EXECUTION, state, **more)  # type: ignore[arg-type]  # the fields are spelled out by each test


def sent_at(terms: Terms) -> Standing:
    return ledger.sent(ledger.queued(terms), NOON, jitter=0.0)


def hear(standing: Standing, terms: Terms, *reports: ExecutionReport) -> Standing:
    for number, said in enumerate(reports):
        now = NOON + number * SECOND
        standing, _ = ledger.reported(standing, terms, said, now, now)
    return standing


def test_whole_life_of_a_fix_keeps_the_moment_of_each_state() -> None:
    hold_until = NOON + timedelta(seconds=63)
    done = hear(
        sent_at(FIX),
        FIX,
        report(S.STORED),
        report(S.RUNNING, step="restart", step_index=1, step_count=2),
        report(S.VERIFYING, hold_until_ms=to_ms(hold_until)),
        report(S.SUCCEEDED, outcome=Outcome.PASS),
    )
    assert (done.state, done.outcome, done.deadline_at) == (S.SUCCEEDED, "pass", None)
    moments = (done.published_at, done.stored_at, done.started_at, done.verifying_at, done.finished_at)
    assert moments == (NOON, NOON, NOON + SECOND, NOON + 2 * SECOND, NOON + 3 * SECOND)
    assert done.hold_until == hold_until


def test_command_that_is_not_answered_is_sent_three_times_and_then_waits_again() -> None:
    standing, now = sent_at(FIX), NOON
    for _ in range(2):
        assert standing.deadline_at is not None
        now = standing.deadline_at
        assert ledger.may_send_again(standing, FIX, now)
        standing = ledger.sent(standing, now, jitter=0.0)
    assert standing.attempt == ledger.MAX_SENDS
    assert not ledger.may_send_again(standing, FIX, now)
    waiting = ledger.overdue(standing, FIX, now)
    assert waiting.state is S.QUEUED
    assert ledger.overdue(standing, FIX, FIX.queued_until).state is S.UNREACHABLE


def test_waits_between_sends_grow() -> None:
    first = sent_at(FIX)
    second = ledger.sent(first, NOON, jitter=0.0)
    assert first.deadline_at == NOON + ledger.STORED_WITHIN
    assert second.deadline_at == NOON + 2 * ledger.STORED_WITHIN


def test_queue_that_ends_without_a_hello_is_expired_and_with_unanswered_sends_unreachable() -> None:
    assert ledger.overdue(ledger.queued(CHECK), CHECK, CHECK.queued_until).state is S.EXPIRED
    tried = replace(ledger.queued(CHECK), attempt=3)
    assert ledger.overdue(tried, CHECK, CHECK.queued_until).state is S.UNREACHABLE


def test_running_is_timed_out_unless_progress_renews_it() -> None:
    running = hear(sent_at(CHECK), CHECK, report(S.RUNNING))
    assert running.deadline_at is not None
    later = running.deadline_at - SECOND
    renewed, heard = ledger.reported(running, CHECK, report(S.RUNNING, progress_pct=40), later, later)
    assert heard is Heard.PROGRESS
    assert renewed.deadline_at is not None
    assert renewed.deadline_at > running.deadline_at
    assert ledger.overdue(renewed, CHECK, renewed.deadline_at).state is S.TIMED_OUT


def test_verifying_ends_a_minute_after_the_hold_and_no_clock_stretches_it_beyond_a_day() -> None:
    hold_until = NOON + timedelta(seconds=60)
    honest = hear(sent_at(FIX), FIX, report(S.VERIFYING, hold_until_ms=to_ms(hold_until)))
    assert honest.deadline_at == hold_until + timedelta(seconds=60)
    wild = hear(sent_at(FIX), FIX, report(S.VERIFYING, hold_until_ms=2**53))
    assert wild.deadline_at is not None
    assert wild.deadline_at <= NOON + timedelta(days=1, minutes=3)


@pytest.mark.parametrize("code", ["session_nonce", "too_late", "replayed"])
def test_refusal_of_an_old_copy_sends_a_fresh_one_and_the_third_is_believed(code: str) -> None:
    again = hear(sent_at(FIX), FIX, report(S.REJECTED, code=code))
    assert (again.state, again.code) == (S.QUEUED, code)
    for _ in range(2):
        again = ledger.sent(again, NOON, jitter=0.0)
    assert hear(again, FIX, report(S.REJECTED, code=code)).state is S.REJECTED


def test_refusal_of_the_execution_itself_is_final() -> None:
    assert hear(sent_at(FIX), FIX, report(S.REJECTED, code="parameters")).state is S.REJECTED


def test_late_word_after_the_end_is_evidence_and_changes_nothing() -> None:
    ended = ledger.overdue(ledger.queued(CHECK), CHECK, CHECK.queued_until)
    after, heard = ledger.reported(ended, CHECK, report(S.SUCCEEDED), NOON, NOON)
    assert (after, heard) == (ended, Heard.LATE)


def test_same_end_again_and_overtaken_words_say_nothing_new() -> None:
    done = hear(sent_at(CHECK), CHECK, report(S.SUCCEEDED))
    assert ledger.reported(done, CHECK, report(S.SUCCEEDED), NOON, NOON) == (done, Heard.NOTHING_NEW)
    assert ledger.reported(done, CHECK, report(S.STORED), NOON, NOON) == (done, Heard.NOTHING_NEW)


def test_progress_never_goes_back() -> None:
    running = hear(sent_at(FIX), FIX, report(S.RUNNING, step_index=2, progress_pct=10))
    after, heard = ledger.reported(running, FIX, report(S.RUNNING, step_index=1, progress_pct=90), NOON, NOON)
    assert (after, heard) == (running, Heard.NOTHING_NEW)


def test_wish_to_end_what_never_left_is_the_end_and_of_what_did_leave_is_the_devices_to_answer() -> None:
    assert ledger.cancelled(ledger.queued(FIX), NOON).state is S.CANCELLED
    asked = ledger.cancelled(sent_at(FIX), NOON)
    assert (asked.state, asked.cancel_asked_at) == (S.PUBLISHED, NOON)
    assert not ledger.may_send_again(asked, FIX, NOON)
    # Queued again after it was sent: a copy may still reach the device.
    again = ledger.cancelled(ledger.unsent(sent_at(FIX), FIX, NOON, is_online=False), NOON)
    assert again.state is S.QUEUED
    for standing in (asked, again):
        later = ledger.overdue(standing, FIX, NOON + 60 * SECOND)
        assert (later.state, later.deadline_at) == (standing.state, NOON + 60 * SECOND + ledger.LOOK_AGAIN)
        ended = ledger.overdue(later, FIX, FIX.queued_until)
        assert (ended.state, ended.code) == (S.UNREACHABLE, "cancel_not_answered")


def test_device_that_was_retired_leaves_open_what_it_did_with_what_was_sent() -> None:
    assert ledger.orphaned(ledger.queued(FIX), NOON).state is S.CANCELLED
    assert ledger.orphaned(sent_at(FIX), NOON).state is S.UNREACHABLE


def test_what_takes_its_place_ends_what_never_left_and_nothing_else() -> None:
    assert ledger.superseded(ledger.queued(FIX), NOON).state is S.SUPERSEDED
    assert ledger.superseded(sent_at(FIX), NOON) == sent_at(FIX)


def test_wait_for_a_safe_moment_says_for_what_and_until_when_and_ends_with_it() -> None:
    held = report(S.WAITING_SAFE, holds=[Condition.BATCH_OPEN], earliest_start_ms=to_ms(NOON + 60 * SECOND))
    waiting = hear(sent_at(FIX), FIX, report(S.STORED), held)
    assert (waiting.holds, waiting.earliest_start) == (["batch_open"], NOON + 60 * SECOND)
    running = hear(waiting, FIX, report(S.RUNNING, overridden=[Condition.BATTERY_LOW]))
    assert (running.holds, running.earliest_start, running.overridden) == ([], None, ["battery_low"])


def test_rules_that_were_set_aside_are_kept_with_the_check_before_among_them() -> None:
    standing = hear(sent_at(FIX), FIX, report(S.STORED), report(S.WAITING_SAFE, is_forced=True))
    assert standing.overridden == ["pre_check"]
    standing = hear(standing, FIX, report(S.RUNNING, is_forced=True, overridden=[Condition.BATTERY_LOW]))
    assert standing.overridden == ["battery_low", "pre_check"]


def test_run_that_is_held_between_its_steps_has_until_the_request_ends() -> None:
    held = report(S.RUNNING, step_index=1, holds=[Condition.TRANSACTION_RUNNING])
    waiting = hear(sent_at(FIX), FIX, report(S.RUNNING), held)
    assert waiting.deadline_at is not None
    assert waiting.deadline_at > FIX.queued_until


def test_answer_to_a_wish_to_end_it_is_kept() -> None:
    asked = ledger.cancelled(hear(sent_at(FIX), FIX, report(S.RUNNING)), NOON)
    refused = hear(asked, FIX, report(S.RUNNING, cancel=CancelAnswer.REFUSED))
    assert hear(refused, FIX, report(S.VERIFYING)).cancel_answer == "refused"


def test_fault_that_comes_back_changes_the_result_once_and_never_the_state() -> None:
    done = hear(sent_at(FIX), FIX, report(S.SUCCEEDED, outcome=Outcome.PASS))
    assert done.result(ActionKind.FIX) is Result.FIXED
    back = report(S.SUCCEEDED, code=CAME_BACK_CODE, outcome=Outcome.FAIL)
    after, heard = ledger.reported(done, FIX, back, NOON, NOON)
    assert (heard, after.state, after.outcome) == (Heard.CAME_BACK, S.SUCCEEDED, "pass")
    assert after.result(ActionKind.FIX) is Result.CAME_BACK
    assert ledger.reported(after, FIX, back, NOON, NOON) == (after, Heard.NOTHING_NEW)


reports = st.builds(
    ExecutionReport,
    execution=st.just(EXECUTION),
    state=st.sampled_from(sorted(DEVICE_STATES)),
    step_index=st.integers(0, 3),
    progress_pct=st.none() | st.integers(0, 100),
    code=st.sampled_from(["", "session_nonce", "paper_out", CAME_BACK_CODE]),
    outcome=st.none() | st.sampled_from(list(Outcome)),
    hold_until_ms=st.none() | st.integers(0, 2**53),
    holds=st.lists(st.sampled_from(list(Condition)), max_size=2),
    cancel=st.none() | st.sampled_from(list(CancelAnswer)),
)


class LedgerLife(RuleBasedStateMachine):
    """Sends, deadlines, cancels, and reports that are repeated, reordered and late."""

    @initialize(terms=st.sampled_from([CHECK, FIX]))
    def request(self, terms: Terms) -> None:
        self.terms = terms
        self.now = NOON
        self.said: list[ExecutionReport] = []
        self.standing = ledger.queued(terms)

    @rule(seconds=st.integers(0, 4000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.standing.state in {S.QUEUED, S.PUBLISHED})
    @rule(jitter=st.floats(0, 1))
    def send(self, jitter: float) -> None:
        if ledger.may_send_again(self.standing, self.terms, self.now):
            self.standing = ledger.sent(self.standing, self.now, jitter=jitter)

    @precondition(lambda self: not self.standing.is_final)
    @rule()
    def deadline_passes(self) -> None:
        assert self.standing.deadline_at is not None
        self.now = max(self.now, self.standing.deadline_at)
        before = self.standing
        self.standing = ledger.overdue(before, self.terms, self.now)
        assert self.standing != before

    @precondition(lambda self: not self.standing.is_final)
    @rule()
    def cancel_is_asked(self) -> None:
        before = self.standing
        self.standing = ledger.cancelled(before, self.now)
        # Nothing is called undone that the device may be doing.
        assert self.standing.is_final == ledger.is_unsent(before)

    @precondition(lambda self: not self.standing.is_final)
    @rule()
    def another_takes_its_place(self) -> None:
        before = self.standing
        self.standing = ledger.superseded(before, self.now)
        assert self.standing.is_final == ledger.is_unsent(before)

    @rule(said=reports)
    def device_says(self, said: ExecutionReport) -> None:
        self.said.append(said)
        self.hear(said)

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def an_old_report_comes_again(self, data: st.DataObject) -> None:
        self.hear(data.draw(st.sampled_from(self.said)))

    def hear(self, said: ExecutionReport) -> None:
        before = self.standing
        self.standing, heard = ledger.reported(before, self.terms, said, self.now, self.now)
        if before.is_final:
            assert self.standing.state is before.state
            assert self.standing == before or heard is Heard.CAME_BACK
        if self.standing.state is not before.state:
            assert heard is Heard.MOVED
            assert may_follow(before.state, self.standing.state)
        if heard is Heard.LATE:
            assert self.standing == before

    @invariant()
    def what_is_said_of_it_is_no_more_than_is_known(self) -> None:
        standing = self.standing
        assert (standing.result(self.terms.kind) is None) == (not standing.is_final)
        if standing.state in {S.CANCELLED, S.SUPERSEDED, S.EXPIRED} and not self.said:
            assert standing.attempt == 0

    @invariant()
    def a_deadline_stands_exactly_while_it_is_not_final(self) -> None:
        standing = self.standing
        assert standing.is_final == (standing.state in FINAL)
        assert (standing.deadline_at is None) == standing.is_final
        assert (standing.finished_at is None) == (not standing.is_final)


LedgerLife.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestLedgerLife = LedgerLife.TestCase


@given(order=st.permutations([S.STORED, S.RUNNING, S.VERIFYING, S.SUCCEEDED, S.SUCCEEDED, S.RUNNING]))
@settings(max_examples=50, deadline=None)
def test_whatever_order_the_reports_of_one_success_arrive_in_it_ends_as_success(order: list[ExecutionState]) -> None:
    assert hear(sent_at(FIX), FIX, *[report(state) for state in order]).state is S.SUCCEEDED
