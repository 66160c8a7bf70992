from __future__ import annotations

import pytest

from fleet_server.auth.errors import TooManyTries
from fleet_server.auth.limits import BURST, RATE_PER_S, SignInLimits


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def limits(clock: list[float]) -> SignInLimits:
    return SignInLimits(lambda: clock[0])


def exhaust(limits: SignInLimits, address: str) -> None:
    for _ in range(BURST):
        limits.take(address)
    with pytest.raises(TooManyTries) as refused:
        limits.take(address)
    assert refused.value.retry_after_s >= 1


def tries_left(limits: SignInLimits, address: str) -> int:
    for number in range(2 * BURST):
        try:
            limits.take(address)
        except TooManyTries:
            return number
    raise AssertionError(f"expected at most {BURST} tries at once, came {2 * BURST}")


def test_wrong_tries_of_one_address_run_out_and_come_back_slowly(limits: SignInLimits, clock: list[float]) -> None:
    exhaust(limits, "203.0.113.7")
    clock[0] = 1 / RATE_PER_S
    limits.take("203.0.113.7")
    with pytest.raises(TooManyTries):
        limits.take("203.0.113.7")


def test_what_succeeds_costs_nothing(limits: SignInLimits) -> None:
    for _ in range(10 * BURST):
        limits.take("203.0.113.7")
        limits.give_back("203.0.113.7")
    assert tries_left(limits, "203.0.113.7") == BURST


def test_giving_back_never_makes_more_than_there_was(limits: SignInLimits) -> None:
    limits.take("203.0.113.7")
    for _ in range(5):
        limits.give_back("203.0.113.7")
    limits.give_back("198.51.100.1")
    assert tries_left(limits, "203.0.113.7") == BURST
    assert tries_left(limits, "198.51.100.1") == BURST


@pytest.mark.parametrize(
    ("first", "second", "are_one"),
    [
        ("203.0.113.7", "203.0.113.8", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("unix", "unix", True),
    ],
)
def test_who_has_many_addresses_has_one_limit(limits: SignInLimits, first: str, second: str, are_one: bool) -> None:
    exhaust(limits, first)
    if are_one:
        with pytest.raises(TooManyTries):
            limits.take(second)
    else:
        limits.take(second)
