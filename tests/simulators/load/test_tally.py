from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulators.load.tally import Tally, Times


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_percentile_is_told_within_a_tenth(durations: list[float], share: float) -> None:
    times = Times()
    for duration in durations:
        times.add(duration)
    ordered = sorted(durations)
    exact = next(value for place, value in enumerate(ordered, 1) if place >= share * len(ordered))
    assert exact * 0.999 <= times.percentile_s(share) <= exact * 1.1


def test_nothing_added_is_no_time_at_all() -> None:
    assert Times().percentile_s(0.99) == 0.0


def test_what_lasts_for_ever_stays_in_the_last_bin() -> None:
    times = Times()
    times.add(1e12)
    times.add(0.0)
    assert times.count == 2
    assert times.percentile_s(1.0) > 1e5


def test_recent_times_are_those_since_somebody_looked() -> None:
    tally = Tally()
    tally.acknowledged(1.0, 10, is_urgent=True)
    assert tally.take_recent().count == 10
    tally.acknowledged(2.0, 5, is_urgent=False)
    assert tally.take_recent().count == 5
    assert (tally.acks.count, tally.urgent_acks.count, tally.counts["acked"]) == (15, 10, 15)
