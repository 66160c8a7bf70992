from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from protocol.identifiers import MAX_SEQ
from protocol.streams import MAX_MISSING_RANGES, Received, SeqRange

ranges = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8)).map(lambda r: (r[0], r[0] + r[1])), max_size=30)


def received(added: list[tuple[int, int]]) -> Received:
    state = Received.empty()
    for first, last in added:
        state.add(first, last)
    return state


@given(added=ranges)
def test_upto_is_the_contiguous_prefix_whatever_the_order(added: list[tuple[int, int]]) -> None:
    truth = {seq for first, last in added for seq in range(first, last + 1)}
    state = received(added)
    expected = 0
    while expected + 1 in truth:
        expected += 1
    assert state.upto == expected
    assert all(state.holds(seq) == (seq in truth) for seq in range(1, 80))


@given(added=ranges)
def test_ranges_beyond_are_disjoint_sorted_and_not_touching(added: list[tuple[int, int]]) -> None:
    state = received(added)
    edges = [(state.upto, state.upto), *state.beyond]
    assert all(high + 1 < low for (_, high), (low, _) in itertools.pairwise(edges))


@given(added=ranges, data=st.data())
def test_order_and_repetition_do_not_matter(added: list[tuple[int, int]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(added + added[:3]))
    assert received(shuffled) == received(added)


@given(added=ranges)
def test_missing_names_exactly_the_gaps(added: list[tuple[int, int]]) -> None:
    state = received(added)
    named = {seq for gap in state.missing() for seq in range(gap.first, gap.last + 1)}
    highest = state.beyond[-1][1] if state.beyond else state.upto
    assert named == {seq for seq in range(1, highest) if not state.holds(seq)}


def test_missing_is_bounded_and_starts_with_the_oldest() -> None:
    state = received([(2 * n, 2 * n) for n in range(1, 200)])
    assert len(state.missing()) == MAX_MISSING_RANGES
    assert state.missing()[0] == SeqRange(1, 1)


@given(added=ranges, first=st.integers(1, 70), length=st.integers(0, 70))
def test_lacking_names_exactly_what_was_not_added(added: list[tuple[int, int]], first: int, length: int) -> None:
    state = received(added)
    named = [seq for gap in state.lacking(first, first + length) for seq in range(gap.first, gap.last + 1)]
    assert named == [seq for seq in range(first, first + length + 1) if not state.holds(seq)]


@given(added=ranges)
def test_everything_before_the_last_range_of_an_ack_that_it_does_not_name_is_committed(
    added: list[tuple[int, int]],
) -> None:
    state = received(added)
    ack = state.ack("a" * 32)
    named = {seq for gap in ack.missing for seq in range(gap.first, gap.last + 1)}
    told = {seq for seq in range(1, ack.missing[-1].first) if seq not in named} if ack.missing else set()
    assert all(state.holds(seq) for seq in told)
    assert not state.beyond or len(state.beyond) >= MAX_MISSING_RANGES or max(told) == state.beyond[-1][1]


def test_an_ack_names_no_number_that_there_is_not() -> None:
    assert received([(2, MAX_SEQ)]).ack("a" * 32).missing == [SeqRange(1, 1)]
    assert received([(1, 5)]).ack("a" * 32).missing == []
