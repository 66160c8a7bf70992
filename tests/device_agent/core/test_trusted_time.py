from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from device_agent.core.instant import Instant
from device_agent.core.trusted_time import BUILD_FLOOR_MS, FLOOR, PERSIST_EVERY_MS, Floor, TrustedClock
from protocol.signing import Policy
from tests.device_agent.core.rig import at

STEPS = st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 2**43)), max_size=30)


@given(STEPS)
def test_trusted_time_never_goes_back(steps: list[tuple[float, int]]) -> None:
    clock = TrustedClock.starting(at(0), persisted=Floor(), newest_record_ms=0)
    seconds, latest = 0.0, 0
    for passed_s, heard_ms in steps:
        seconds += passed_s
        clock.on_signed_time(heard_ms, at(seconds))
        assert clock.now_ms(at(seconds)) >= max(latest, heard_ms, BUILD_FLOOR_MS)
        latest = clock.now_ms(at(seconds))


def test_wall_clock_changes_nothing() -> None:
    clock = TrustedClock.starting(at(0), persisted=Floor(), newest_record_ms=0)
    assert clock.now_ms(Instant(10**9, datetime(1970, 1, 1, tzinfo=UTC))) == clock.now_ms(
        Instant(10**9, datetime(2099, 1, 1, tzinfo=UTC))
    )


def test_floor_is_the_latest_of_build_persisted_time_and_newest_record() -> None:
    floor = BUILD_FLOOR_MS
    later = TrustedClock.starting(at(0), persisted=Floor(0, floor + 5), newest_record_ms=floor + 9)
    assert later.now_ms(at(0)) == floor + 9
    assert TrustedClock.starting(at(0), persisted=Floor(0, 1), newest_record_ms=2).now_ms(at(0)) == floor


def test_time_is_written_down_only_when_it_has_moved_far() -> None:
    clock = TrustedClock.starting(at(0), persisted=Floor(0, BUILD_FLOOR_MS), newest_record_ms=0)
    assert clock.facts_due(at(1)) == {}
    assert clock.facts_due(at(700)) == {FLOOR: f"{BUILD_FLOOR_MS + 700_000}@0"}
    assert clock.facts_due(at(701)) == {}


TRUE_MS = BUILD_FLOOR_MS + 86_400_000
AHEAD_MS = TRUE_MS + 30 * 86_400_000


def saying(clock_ms: int) -> Policy:
    return Policy(2, TRUE_MS, ["c" * 64], ["5" * 64], [], clock_ms=clock_ms)


def ahead() -> TrustedClock:
    """A server said that it was a month later."""
    clock = TrustedClock.starting(at(0), persisted=Floor(), newest_record_ms=0)
    clock.on_signed_time(AHEAD_MS, at(10))
    return clock


def test_only_the_roots_word_sets_it_back_and_each_word_once() -> None:
    clock = ahead()
    clock.on_signed_time(TRUE_MS, at(20))
    assert clock.now_ms(at(20)) == AHEAD_MS + 10_000
    (event,) = clock.on_policy(saying(TRUE_MS), at(20))
    assert (event.code, event.detail) == ("clock.set_back", f"by {30 * 86_400 + 10} s, as policy 2 says")
    assert clock.now_ms(at(21)) == TRUE_MS + 1000
    assert clock.offset_ms is None, "the word is hours old, and tells no time of records"
    clock.on_signed_time(TRUE_MS + 5000, at(22))
    assert clock.now_ms(at(22)) == TRUE_MS + 5000
    for told_ms in (TRUE_MS, TRUE_MS - 1, 0):
        assert clock.on_policy(saying(told_ms), at(23)) == []
    assert clock.now_ms(at(23)) == TRUE_MS + 6000


def test_the_roots_word_is_a_floor_for_a_clock_that_is_behind() -> None:
    clock = TrustedClock.starting(at(0), persisted=Floor(), newest_record_ms=0)
    assert clock.on_policy(saying(TRUE_MS), at(0)) == []
    assert clock.now_ms(at(1)) == TRUE_MS + 1000


def test_what_was_set_back_is_written_down_at_once_and_outlives_older_copies_and_records() -> None:
    clock = ahead()
    before = clock.facts_due(at(30))[FLOOR]
    clock.on_policy(saying(TRUE_MS), at(40))
    after = clock.facts_due(at(40))[FLOOR]
    newest = max(Floor.from_text(before), Floor.from_text(after))
    assert newest == Floor.from_text(after) == Floor(TRUE_MS, TRUE_MS)
    again = TrustedClock.starting(at(0), persisted=newest, newest_record_ms=AHEAD_MS + 20_000)
    assert again.now_ms(at(0)) <= TRUE_MS + PERSIST_EVERY_MS
    assert again.on_policy(saying(TRUE_MS), at(0)) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2**43)), max_size=20))
def test_trusted_time_goes_back_to_nothing_but_the_roots_latest_word(heard: list[tuple[bool, int]]) -> None:
    clock = TrustedClock.starting(at(0), persisted=Floor(), newest_record_ms=0)
    for second, (is_root, said_ms) in enumerate(heard):
        before, told = clock.now_ms(at(second)), clock.told_ms
        if is_root:
            clock.on_policy(saying(said_ms), at(second))
        else:
            clock.on_signed_time(said_ms, at(second))
        after = clock.now_ms(at(second))
        assert after >= before or (is_root and said_ms > told and after == said_ms)
