from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.commands import ActionKind
from protocol.executions import (
    DEVICE_STATES,
    FINAL,
    NO_WORD,
    SENDING,
    TABLE,
    UNANSWERED,
    UNSENT,
    ExecutionState,
    Limit,
    Result,
    Speaker,
    has_reached,
    may_follow,
    result_of,
)

S = ExecutionState
states = st.sampled_from(ExecutionState)
# Written down once more, by hand: what the desk is promised.
ENDS = {
    *(S.SUCCEEDED, S.FAILED, S.ROLLED_BACK, S.REJECTED, S.EXPIRED, S.UNREACHABLE, S.TIMED_OUT, S.CANCELLED),
    *(S.SUPERSEDED, S.UNKNOWN, S.INCONSISTENT),
}


def test_each_state_has_its_rule_and_only_ends_have_neither_limit_nor_successor() -> None:
    assert set(TABLE) == set(ExecutionState)
    assert FINAL == ENDS
    for state, rule in TABLE.items():
        assert (rule.limit is Limit.NONE) == (state in ENDS) == (rule.next == frozenset()), state


def test_whatever_is_not_an_end_leads_to_one() -> None:
    for state in set(TABLE) - FINAL:
        assert TABLE[state].next & FINAL, state


@given(reports=st.lists(states, max_size=30))
def test_no_order_of_reports_leaves_a_final_state_or_goes_back(reports: list[ExecutionState]) -> None:
    current, seen = S.QUEUED, [S.QUEUED]
    for reported in reports:
        if may_follow(current, reported):
            current = reported
            seen.append(current)
    assert sum(state in FINAL for state in seen) <= 1
    assert not any(state in FINAL for state in seen[:-1])
    order = list(ExecutionState)
    moved = [order.index(state) for state in seen if state not in FINAL]
    back = [(a, b) for a, b in itertools.pairwise(moved) if b < a]
    assert all(order[a] is S.PUBLISHED and order[b] is S.QUEUED for a, b in back)


def test_servers_own_states_are_not_a_devices_to_say() -> None:
    own = {S.DRAFT, S.AWAITING_APPROVAL, S.QUEUED, S.PUBLISHED, S.TIMED_OUT, S.UNREACHABLE}
    assert set(ExecutionState) - DEVICE_STATES == own
    assert all(TABLE[state].speaker is Speaker.SERVER for state in own)


def test_what_was_sent_but_not_stored_may_be_queued_again_and_nothing_after_it() -> None:
    assert [state for state in ExecutionState if may_follow(state, S.QUEUED)] == [
        S.DRAFT,
        S.AWAITING_APPROVAL,
        S.PUBLISHED,
    ]


def test_a_device_that_is_heard_again_is_believed_whatever_it_has_reached() -> None:
    for state in (S.QUEUED, S.PUBLISHED):
        assert TABLE[state].next >= DEVICE_STATES


def test_silence_is_unreachable_before_the_device_has_it_and_timed_out_after() -> None:
    for state in set(TABLE) - FINAL:
        heard = TABLE[state].speaker is Speaker.DEVICE
        assert (S.TIMED_OUT in TABLE[state].next) == heard, state
        assert (S.UNREACHABLE in TABLE[state].next) == (state in {S.QUEUED, S.PUBLISHED}), state


def test_groups_are_what_their_names_say() -> None:
    assert {S.DRAFT, S.AWAITING_APPROVAL, S.QUEUED, S.PUBLISHED} == UNANSWERED
    assert {S.DRAFT, S.AWAITING_APPROVAL, S.QUEUED} == UNSENT
    assert {S.QUEUED, S.PUBLISHED} == SENDING
    assert has_reached(S.RUNNING, S.STORED)
    assert not has_reached(S.STORED, S.RUNNING)


@pytest.mark.parametrize(
    ("kind", "state", "code", "result"),
    [
        (ActionKind.FIX, S.SUCCEEDED, "", Result.FIXED),
        (ActionKind.CHECK, S.SUCCEEDED, "", Result.RAN),
        (ActionKind.TEST, S.FAILED, "no_power", Result.NOT_RUN),
        (ActionKind.FIX, S.FAILED, "post_check_failed", Result.NOT_FIXED),
        (ActionKind.FIX, S.FAILED, "came_back", Result.CAME_BACK),
        (ActionKind.FIX, S.FAILED, "post_check_error", Result.NOT_TOLD),
        (ActionKind.FIX, S.FAILED, "other_device", Result.NOT_TOLD),
        (ActionKind.FIX, S.FAILED, "not_needed", Result.NOT_NEEDED),
        (ActionKind.FIX, S.ROLLED_BACK, "", Result.NOT_FIXED),
        (ActionKind.FIX, S.CANCELLED, "", Result.NOTHING_DONE),
        (ActionKind.FIX, S.CANCELLED, "stopped_between_steps", Result.NOT_TOLD),
        (ActionKind.FIX, S.UNKNOWN, "interrupted", Result.NOT_TOLD),
        (ActionKind.CHECK, S.TIMED_OUT, "", Result.NO_ANSWER),
        (ActionKind.FIX, S.UNREACHABLE, "", Result.NO_ANSWER),
        (ActionKind.FIX, S.VERIFYING, "", None),
    ],
)
def test_result_in_one_word(kind: ActionKind, state: ExecutionState, code: str, result: Result | None) -> None:
    assert result_of(kind, state, code) is result


@given(kind=st.sampled_from(ActionKind), state=states, code=st.sampled_from(["", "x", "came_back", "not_needed"]))
def test_only_a_fix_that_succeeded_and_stayed_is_called_fixed(
    kind: ActionKind, state: ExecutionState, code: str
) -> None:
    for came_back in (False, True):
        is_fixed = result_of(kind, state, code, came_back=came_back) is Result.FIXED
        assert not is_fixed or (kind is ActionKind.FIX and state is S.SUCCEEDED and not came_back)
    assert (result_of(kind, state, code) is None) == (state not in FINAL)
    assert (result_of(kind, state, code) is Result.NO_ANSWER) == (state in NO_WORD)
