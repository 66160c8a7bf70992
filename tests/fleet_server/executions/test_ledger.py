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
from protocol.commands import DEVICE_STATES, FINAL, QUEUE_EXPIRY, ActionKind, ExecutionState, may_follow
from protocol.records import ExecutionReport, Outcome
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


def test_cancelled_wish_is_not_sent_again() -> None:
    asked = replace(sent_at(FIX), cancel_asked_at=NOON)
    assert not ledger.may_send_again(asked, FIX, NOON)
    assert ledger.overdue(asked, FIX, NOON).state is S.CANCELLED


reports = st.builds(
    ExecutionReport,
    execution=st.just(EXECUTION),
    state=st.sampled_from(sorted(DEVICE_STATES)),
    step_index=st.integers(0, 3),
    progress_pct=st.none() | st.integers(0, 100),
    code=st.sampled_from(["", "session_nonce", "paper_out"]),
    outcome=st.none() | st.sampled_from(list(Outcome)),
    hold_until_ms=st.none() | st.integers(0, 2**53),
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
        self.standing = replace(self.standing, cancel_asked_at=self.now)

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
            assert self.standing == before
        if self.standing.state is not before.state:
            assert heard is Heard.MOVED
            assert may_follow(before.state, self.standing.state)
        if heard is Heard.LATE:
            assert self.standing == before

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
