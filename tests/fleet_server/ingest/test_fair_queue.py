"""Turns and quotas: whatever one link does, the others are served as if it were not there."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.ingest import fair_queue
from fleet_server.ingest.fair_queue import BURST_S, MAX_WAITING, FairQueue, Quota, Quotas

LINKS = ["a", "b", "c", "d"]
QUOTAS = Quotas(link=Quota(2, 200), tenant=Quota(6, 600))
Item = tuple[str, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.sampled_from(LINKS), st.integers(1, 40), st.integers(1, 100)),
        st.tuples(st.just("take"), st.integers(1, 30), st.integers(1, 2000), st.integers(0, 3)),
    ),
    max_size=40,
)


def fill(queue: FairQueue[Item], link: str, count: int, now_s: float = 0.0, tenant: str = "t", size: int = 1) -> int:
    return sum(queue.offer((link, number), link, tenant, size, now_s) for number in range(count))


def links_of(taken: list[Item]) -> Counter[str]:
    return Counter(link for link, _ in taken)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_nothing_is_lost_doubled_or_turned_around_and_the_counts_are_true(
    done: list[tuple[str, str | int, int, int]],
) -> None:
    queue: FairQueue[Item] = FairQueue(QUOTAS)
    offered, taken, dropped, now_s = Counter[str](), dict[str, list[int]](), Counter[str](), 0.0
    for name, first, second, third in done:
        if name == "offer":
            link = str(first)
            for _ in range(second):
                offered[link] += 1
                if not queue.offer((link, offered[link]), link, "t", third, now_s):
                    dropped[link] += 1
        else:
            now_s += third
            before = queue.count
            batch = queue.take(int(first), second, now_s)
            assert len(batch) <= int(first)
            assert (len(batch) > 0) == (before > 0)
            for link, number in batch:
                taken.setdefault(link, []).append(number)
    for link, number in queue.take(10_000, 10**9, now_s):
        taken.setdefault(link, []).append(number)
    assert (queue.count, queue.size_bytes) == (0, 0)
    assert queue.take_dropped() == dict(dropped)
    for link in LINKS:
        numbers = taken.get(link, [])
        assert numbers == sorted(set(numbers))
        assert len(numbers) == offered[link] - dropped[link]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 15), st.integers(1, 500), st.integers(1, 40))
def test_a_link_within_its_quota_gets_all_it_sent_in_the_next_flush_whatever_another_sends(
    few: int, many: int, most: int
) -> None:
    queue: FairQueue[Item] = FairQueue(Quotas(link=Quota(2)))
    fill(queue, "loud", int(2 * BURST_S))
    queue.take(int(2 * BURST_S), 10**9, 0.0)  # it has used up what it had saved
    fill(queue, "loud", many)
    assert fill(queue, "quiet", few) == few
    taken = links_of(queue.take(most, 10**9, 0.0))
    assert taken["quiet"] == min(few, most)
    assert taken["loud"] == min(max(0, most - few), many, MAX_WAITING)


def test_within_their_quotas_links_take_turns() -> None:
    queue: FairQueue[Item] = FairQueue(QUOTAS)
    fill(queue, "a", 9)
    fill(queue, "b", 2)
    assert [link for link, _ in queue.take(5, 10**9, 0.0)] == ["a", "b", "a", "b", "a"]


def test_only_beyond_the_quota_and_the_bound_something_is_dropped_and_it_is_the_newest() -> None:
    queue: FairQueue[Item] = FairQueue(Quotas(link=Quota(messages_per_s=1)))
    assert fill(queue, "a", MAX_WAITING + 5) == MAX_WAITING + 5  # nothing was taken yet, so nothing is used up
    queue.take(10_000, 10**9, 0.0)
    assert fill(queue, "a", MAX_WAITING + 5) == MAX_WAITING
    assert queue.take_dropped() == {"a": 5}
    assert queue.take_dropped() == {}
    assert [number for _, number in queue.take(10_000, 10**9, 0.0)] == list(range(MAX_WAITING))


def test_without_quotas_nothing_is_dropped() -> None:
    queue: FairQueue[Item] = FairQueue(Quotas())
    assert fill(queue, "a", 10 * MAX_WAITING) == 10 * MAX_WAITING


@pytest.mark.parametrize(("later_s", "back"), [(0.0, 0), (5.0, 5), (500.0, int(BURST_S))])
def test_what_was_used_up_comes_back_with_time(later_s: float, back: int) -> None:
    queue: FairQueue[Item] = FairQueue(Quotas(link=Quota(1)))
    fill(queue, "a", 30)
    queue.take(30, 10**9, 0.0)
    fill(queue, "a", 20, later_s)
    fill(queue, "new", 20, later_s)
    within = links_of(queue.take(int(BURST_S) + back, 10**9, later_s))
    assert within == Counter({"a": back, "new": int(BURST_S)})


def test_large_messages_are_counted_by_their_bytes() -> None:
    queue: FairQueue[Item] = FairQueue(Quotas(link=Quota(bytes_per_s=100)))
    fill(queue, "a", 3, size=1000)
    fill(queue, "b", 3, size=10)
    assert [link for link, _ in queue.take(5, 10**9, 0.0)] == ["a", "b", "b", "b", "a"]


def test_one_tenant_that_floods_does_not_hold_up_another() -> None:
    queue: FairQueue[Item] = FairQueue(Quotas(tenant=Quota(2)))
    for link in ("a", "b", "c"):
        fill(queue, link, 20, tenant="loud")
    fill(queue, "q", 15, tenant="quiet")
    assert links_of(queue.take(60, 10**9, 0.0))["q"] == 15


def test_a_tenant_that_has_used_up_its_quota_goes_behind_however_many_links_it_has() -> None:
    queue: FairQueue[Item] = FairQueue(Quotas(tenant=Quota(2)))
    fill(queue, "loud", int(2 * BURST_S), tenant="loud")
    queue.take(int(2 * BURST_S), 10**9, 0.0)
    for number in range(12):
        fill(queue, f"loud{number}", 5, tenant="loud")
    fill(queue, "q", 15, tenant="quiet")
    assert links_of(queue.take(20, 10**9, 0.0))["q"] == 15


def test_whoever_was_beyond_the_quota_is_within_it_as_soon_as_something_is_left() -> None:
    queue: FairQueue[Item] = FairQueue(Quotas(link=Quota(messages_per_s=1, bytes_per_s=100)))
    fill(queue, "a", 30, size=1000)
    queue.take(30, 10**9, 0.0)
    fill(queue, "b", 30, 2.0)
    queue.take(30, 10**9, 2.0)
    fill(queue, "b", 1, 2.0)
    fill(queue, "a", 1, 2.0)
    assert links_of(queue.take(1, 10**9, 2.0)) == {"a": 1}


def test_a_link_of_which_something_waits_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "_PRUNE_FROM", 10)
    queue: FairQueue[Item] = FairQueue(QUOTAS)
    fill(queue, "a", 4)
    for number in range(12):
        fill(queue, f"link{number}", 1)
    fill(queue, "new", 1, 10 * BURST_S)
    for number in range(4, 8):
        queue.offer(("a", number), "a", "t", 1, 10 * BURST_S)
    taken = [queue.take(1, 10**9, 10 * BURST_S)[0] for _ in range(queue.count)]
    assert [number for link, number in taken if link == "a"] == list(range(8))


def test_a_flush_ends_with_the_message_that_reaches_its_bytes() -> None:
    queue: FairQueue[Item] = FairQueue(Quotas())
    fill(queue, "a", 5, size=400)
    assert [len(queue.take(100, 1000, 0.0)) for _ in range(3)] == [3, 2, 0]
    fill(queue, "a", 1, size=5000)
    assert len(queue.take(100, 1000, 0.0)) == 1


def test_it_is_full_by_count_or_bytes_and_can_be_given_back() -> None:
    queue: FairQueue[Item] = FairQueue(Quotas())
    fill(queue, "a", fair_queue.MAX_COUNT)
    assert queue.is_full
    assert queue.clear() == fair_queue.MAX_COUNT
    assert not queue.is_full
    fill(queue, "a", 2, size=fair_queue.MAX_BYTES // 2)
    assert queue.is_full


def test_links_that_have_nothing_used_up_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "_PRUNE_FROM", 10)
    queue: FairQueue[Item] = FairQueue(Quotas(link=Quota(1)))
    for number in range(30):
        fill(queue, f"link{number}", 15, number * BURST_S)
        queue.take(15, 10**9, number * BURST_S)
    assert len(queue._lines) <= 12
    fill(queue, "link29", 5, 29 * BURST_S)
    fill(queue, "other", 5, 29 * BURST_S)
    assert links_of(queue.take(5, 10**9, 29 * BURST_S)) == {"other": 5}


def test_many_links_at_once_are_not_looked_at_again_for_each_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Counter[str]()

    def counted(allowance: fair_queue._Allowance, now_s: float) -> bool:
        looked["at"] += 1
        return is_as_new(allowance, now_s)

    is_as_new = fair_queue._Allowance.is_as_new
    monkeypatch.setattr(fair_queue._Allowance, "is_as_new", counted)
    monkeypatch.setattr(fair_queue, "_PRUNE_FROM", 10)
    queue: FairQueue[Item] = FairQueue(Quotas(link=Quota(1)))
    for number in range(300):
        fill(queue, f"link{number}", 1, number / 300)
        queue.take(1, 10**9, number / 300)
    assert looked["at"] <= 300
