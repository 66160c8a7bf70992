from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.core.replay import ReplayWindow
from protocol.commands import COUNTER_WINDOW

COUNTERS = st.one_of(st.integers(1, 3000), st.integers(2**50, 2**50 + 50))


@settings(max_examples=60)
@given(st.lists(COUNTERS, max_size=60))
def test_a_counter_is_accepted_at_most_once(counters: list[int]) -> None:
    window, accepted = ReplayWindow(), set()
    for counter in counters:
        if not window.was_used(counter):
            assert counter not in accepted
            accepted.add(counter)
            window = window.with_used(counter)
        assert window.was_used(counter)


@settings(max_examples=60)
@given(st.sets(st.integers(1, COUNTER_WINDOW), max_size=40))
def test_within_the_window_exactly_the_used_counters_are_refused(used: set[int]) -> None:
    window = ReplayWindow()
    for counter in used:
        window = window.with_used(counter)
    assert {counter for counter in range(1, COUNTER_WINDOW + 1) if window.was_used(counter)} == used


@settings(max_examples=40)
@given(st.lists(COUNTERS, max_size=20))
def test_what_is_written_down_is_read_back(counters: list[int]) -> None:
    window = ReplayWindow()
    for counter in counters:
        window = window.with_used(counter)
    assert ReplayWindow.from_text(window.to_text()) == window


def test_counter_that_fell_out_of_the_window_is_refused() -> None:
    window = ReplayWindow().with_used(COUNTER_WINDOW + 5)
    assert window.was_used(5)
    assert not window.was_used(6)
