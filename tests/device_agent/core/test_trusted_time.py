from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from device_agent.core.instant import Instant
from device_agent.core.trusted_time import BUILD_FLOOR_MS, TrustedClock
from tests.device_agent.core.rig import at

STEPS = st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 2**43)), max_size=30)


@given(STEPS)
def test_trusted_time_never_goes_back(steps: list[tuple[float, int]]) -> None:
    clock = TrustedClock.starting(at(0), persisted_ms=0, newest_record_ms=0)
    seconds, latest = 0.0, 0
    for passed_s, heard_ms in steps:
        seconds += passed_s
        clock.on_signed_time(heard_ms, at(seconds))
        assert clock.now_ms(at(seconds)) >= max(latest, heard_ms, BUILD_FLOOR_MS)
        latest = clock.now_ms(at(seconds))


def test_wall_clock_changes_nothing() -> None:
    clock = TrustedClock.starting(at(0), persisted_ms=0, newest_record_ms=0)
    assert clock.now_ms(Instant(10**9, datetime(1970, 1, 1, tzinfo=UTC))) == clock.now_ms(
        Instant(10**9, datetime(2099, 1, 1, tzinfo=UTC))
    )


def test_floor_is_the_latest_of_build_persisted_time_and_newest_record() -> None:
    floor = BUILD_FLOOR_MS
    assert TrustedClock.starting(at(0), persisted_ms=floor + 5, newest_record_ms=floor + 9).now_ms(at(0)) == floor + 9
    assert TrustedClock.starting(at(0), persisted_ms=1, newest_record_ms=2).now_ms(at(0)) == floor


def test_time_is_written_down_only_when_it_has_moved_far() -> None:
    clock = TrustedClock.starting(at(0), persisted_ms=BUILD_FLOOR_MS, newest_record_ms=0)
    assert clock.to_persist(at(1)) is None
    assert clock.to_persist(at(700)) is not None
    assert clock.to_persist(at(701)) is None
