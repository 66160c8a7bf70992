from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.kit import rate_limit
from fleet_server.kit.rate_limit import TokenBuckets


@given(gaps_s=st.lists(st.floats(0, 2), max_size=60))
@settings(max_examples=60, deadline=None)
def test_no_caller_gets_more_than_burst_and_rate(gaps_s: list[float]) -> None:
    buckets = TokenBuckets(rate_per_s=2.0, burst=5)
    now_s, passed = 100.0, 0
    for gap_s in gaps_s:
        now_s += gap_s
        passed += buckets.take("a", now_s) == 0
        assert passed <= 5 + 2.0 * (now_s - 100.0) + 1e-6


def test_refused_caller_passes_after_the_wait_it_was_told() -> None:
    buckets = TokenBuckets(rate_per_s=2.0, burst=1)
    assert buckets.take("a", 0.0) == 0
    wait_s = buckets.take("a", 0.0)
    assert wait_s == 0.5
    assert buckets.take("a", wait_s) == 0
    assert buckets.refused == 1


def test_callers_do_not_take_from_each_other() -> None:
    buckets = TokenBuckets(rate_per_s=1.0, burst=1)
    assert [buckets.take(name, 0.0) for name in "abc"] == [0, 0, 0]


def test_clock_that_goes_back_gives_nothing_away() -> None:
    buckets = TokenBuckets(rate_per_s=1.0, burst=1)
    buckets.take("a", 10.0)
    assert buckets.take("a", 5.0) > 0


def test_buckets_are_bounded() -> None:
    buckets = TokenBuckets(rate_per_s=1.0, burst=1)
    for number in range(rate_limit.MAX_CALLERS + 10):
        buckets.take(str(number), 0.0)
    assert len(buckets._buckets) == rate_limit.MAX_CALLERS
