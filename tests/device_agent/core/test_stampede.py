"""A whole fleet that lost its broker comes back without ever asking more of it than it can take."""

from __future__ import annotations

import pytest

from device_agent.core import backoff as backoff_module
from device_agent.core.backoff import Backoff
from fleet_server.ingest.answers import ACCEPTS_PER_S, flow_for
from protocol.session import Profile
from tests.support.stampede import Outage, Stampede, fleet_of, reconnect

# Small for the time a test may take, and still enough that a second's chance does not decide.
AGENTS = 20_000
NEEDED_S = AGENTS / ACCEPTS_PER_S


def is_kept(result: Stampede) -> bool:
    is_back = result.back == AGENTS and result.all_back_s <= 3 * NEEDED_S
    return is_back and result.peak_per_s <= ACCEPTS_PER_S and result.reached <= 1.1 * AGENTS


def lose_the_broker(*, down_s: float, seed: int = 1) -> Stampede:
    return reconnect(fleet_of(AGENTS), Outage(AGENTS, ACCEPTS_PER_S, down_s, seed))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_fleet_comes_back_within_what_the_broker_can_take(seed: int) -> None:
    result = lose_the_broker(down_s=0.15 * NEEDED_S, seed=seed)
    assert is_kept(result), result
    assert result.attempts <= 1.1 * AGENTS


@pytest.mark.parametrize("times", [1, 2, 10])
def test_a_long_outage_costs_tries_that_nobody_has_to_answer_and_nothing_more(times: int) -> None:
    result = lose_the_broker(down_s=times * NEEDED_S)
    assert (result.back, result.reached, result.timed_out) == (AGENTS, AGENTS, 0)
    assert result.all_back_s <= 3 * NEEDED_S
    # Renewals of a uniform wait are densest after once its length, e / 2 of the mean: what waits in the broker's queue.
    assert result.peak_per_s <= 1.36 * ACCEPTS_PER_S + 4 * ACCEPTS_PER_S**0.5


def test_a_fleet_that_the_usual_cap_would_press_together_is_spread_wider() -> None:
    flow = flow_for(Profile.METERED, 400_000)
    assert flow.reconnect_first_s is not None
    assert flow.reconnect_first_s >= 2 * 400_000 / ACCEPTS_PER_S > flow_for(Profile.METERED, 1000).reconnect_cap_s
    assert flow.reconnect_cap_s <= 3 * 400_000 / ACCEPTS_PER_S


def test_without_jitter_it_would_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Backoff.on_lost

    def in_step(self: Backoff, now_ns: int, *, own_link_down: bool, jitter: float) -> float:
        return honest(self, now_ns, own_link_down=own_link_down, jitter=0.5 + 0 * jitter)

    monkeypatch.setattr(Backoff, "on_lost", in_step)
    assert not is_kept(lose_the_broker(down_s=0.15 * NEEDED_S))


def test_with_a_cap_that_knows_nothing_of_the_fleet_it_would_not_hold() -> None:
    fleet = fleet_of(AGENTS)
    for backoff in fleet:
        backoff.cap_s = NEEDED_S
    assert not is_kept(reconnect(fleet, Outage(AGENTS, ACCEPTS_PER_S, 10 * NEEDED_S)))


def test_with_the_first_try_of_a_device_whose_own_link_was_down_it_would_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def soon(_self: Backoff, *, own_link_down: bool) -> float:
        return backoff_module.OWN_LINK_FIRST_TRY_S

    monkeypatch.setattr(Backoff, "_spread_s", soon)
    assert not is_kept(lose_the_broker(down_s=0.15 * NEEDED_S))


def test_with_a_base_that_knows_nothing_of_the_fleet_it_would_not_hold() -> None:
    fleet = [Backoff() for _ in range(AGENTS)]
    assert not is_kept(reconnect(fleet, Outage(AGENTS, ACCEPTS_PER_S, 0.15 * NEEDED_S)))
