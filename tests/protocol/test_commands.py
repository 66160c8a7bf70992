from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from protocol.commands import DEVICE_STATES, FINAL, TRANSITIONS, ExecutionState, may_follow

states = st.sampled_from(ExecutionState)


def test_final_states_absorb() -> None:
    assert all(TRANSITIONS[state] == frozenset() for state in FINAL)
    assert len(FINAL) == 11


@given(reports=st.lists(states, max_size=30))
def test_no_order_of_reports_leaves_a_final_state_or_goes_back(reports: list[ExecutionState]) -> None:
    current, seen = ExecutionState.QUEUED, [ExecutionState.QUEUED]
    for reported in reports:
        if may_follow(current, reported):
            current = reported
            seen.append(current)
    assert sum(state in FINAL for state in seen) <= 1
    assert not any(state in FINAL for state in seen[:-1])
    order = list(ExecutionState)
    moved = [order.index(state) for state in seen if state not in FINAL]
    back = [(a, b) for a, b in itertools.pairwise(moved) if b < a]
    assert all(order[a] is ExecutionState.PUBLISHED and order[b] is ExecutionState.QUEUED for a, b in back)


def test_server_s_own_states_are_not_a_device_s_to_say() -> None:
    own = {ExecutionState.TIMED_OUT, ExecutionState.UNREACHABLE, ExecutionState.QUEUED, ExecutionState.PUBLISHED}
    assert own & DEVICE_STATES == set()


def test_what_was_sent_but_not_stored_may_be_queued_again() -> None:
    assert may_follow(ExecutionState.PUBLISHED, ExecutionState.QUEUED)
    assert not may_follow(ExecutionState.STORED, ExecutionState.QUEUED)
