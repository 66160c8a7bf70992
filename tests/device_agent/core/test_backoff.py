from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from device_agent.core.backoff import OWN_LINK_FIRST_TRY_S, Backoff
from device_agent.core.instant import NS_PER_S

JITTER = st.floats(0, 1, exclude_max=True)


@given(st.lists(st.tuples(st.booleans(), JITTER), max_size=80), st.floats(0.1, 400), st.floats(0.1, 900))
def test_no_delay_is_above_the_cap(losses: list[tuple[bool, float]], base_s: float, cap_s: float) -> None:
    backoff = Backoff()
    backoff.set_pace(base_s=base_s, cap_s=cap_s)
    for own_link_down, jitter in losses:
        assert 0 <= backoff.on_lost(0, own_link_down=own_link_down, jitter=jitter) <= backoff.cap_s


def test_first_try_is_spread_over_twice_the_base_when_the_fleet_lost_its_broker() -> None:
    backoff = Backoff(base_s=300)
    assert backoff.on_lost(0, own_link_down=False, jitter=0.999999) > 599


def test_the_first_spread_that_the_server_asks_for_is_kept_whatever_the_cap_of_later_tries() -> None:
    backoff = Backoff()
    backoff.set_pace(base_s=300, cap_s=900, first_s=1250)
    assert backoff.on_lost(0, own_link_down=False, jitter=0.999999) > 1249
    assert backoff.on_lost(0, own_link_down=False, jitter=0.999999) < 601


def test_a_first_spread_of_zero_does_not_bring_the_whole_fleet_at_once() -> None:
    backoff = Backoff()
    backoff.set_pace(base_s=0, cap_s=900, first_s=0)
    assert backoff.on_lost(0, own_link_down=False, jitter=0.999999) > 0.09


def test_first_try_is_soon_when_only_the_own_link_was_down() -> None:
    backoff = Backoff(base_s=300)
    assert backoff.on_lost(0, own_link_down=True, jitter=0.999999) <= OWN_LINK_FIRST_TRY_S


def test_a_session_of_less_than_a_minute_forgets_no_failure() -> None:
    backoff = Backoff(base_s=10)
    for _ in range(3):
        backoff.on_lost(0, own_link_down=False, jitter=0.5)
    backoff.on_established(0)
    assert backoff.on_lost(59 * NS_PER_S, own_link_down=False, jitter=1.0) == 80


def test_a_minute_of_health_starts_over() -> None:
    backoff = Backoff(base_s=10)
    for _ in range(3):
        backoff.on_lost(0, own_link_down=False, jitter=0.5)
    backoff.on_established(0)
    assert backoff.on_lost(60 * NS_PER_S, own_link_down=False, jitter=1.0) == 20
