from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.redaction.card_numbers import (
    common_lengths,
    has_issuer,
    is_card_number,
    is_card_value,
    issuer_lengths,
    passes_luhn,
)
from tests.protocol.redaction.card_samples import card_numbers, closed_with_check_digit


# Test numbers published by the schemes and by payment service providers.
@pytest.mark.parametrize(
    "number",
    [
        "4111111111111111", "4222222222222", "5555555555554444", "2223003122003222", "378282246310005",
        "6011111111111117", "30569309025904", "3530111333300000", "6200000000000005", "6205500000000000004",
        "5019717010103742",
    ],
)  # fmt: skip
def test_published_test_numbers_are_card_numbers(number: str) -> None:
    assert is_card_number(number)


@given(card_numbers())
@settings(deadline=None)
def test_one_wrong_digit_is_noticed(number: str) -> None:
    for at in range(len(number)):
        other = number[:at] + str((int(number[at]) + 1) % 10) + number[at + 1 :]
        assert not passes_luhn(other)


@pytest.mark.parametrize(
    "number",
    [
        closed_with_check_digit("35693803564380"),  # IMEI: JCB's prefix, not its length
        closed_with_check_digit("898601234567890123"),  # ICCID
        closed_with_check_digit("46000123456789"),  # IMSI: Visa never has fifteen
        closed_with_check_digit("176722560012345"),  # microseconds
        "411111111111", "41111111111111111111", "", "1",
    ],
)  # fmt: skip
def test_luhn_alone_makes_no_card(number: str) -> None:
    assert not has_issuer(number)


@given(st.text("0123456789", min_size=6, max_size=6))
@settings(deadline=None)
def test_common_lengths_are_lengths_in_use(prefix: str) -> None:
    assert common_lengths(prefix) <= issuer_lengths(prefix) <= set(range(12, 20))


@pytest.mark.parametrize(
    "value",
    [4111111111111111, -4111111111111111, 4111111111111111.0, 6441143178235290568, 6441143178235290568.0],
)
def test_a_measured_number_that_is_written_as_a_card_number_counts_as_one(value: float) -> None:
    assert is_card_value(value)


@pytest.mark.parametrize("value", [0, 41, 4.1, 1764300000000, 4111111111111112, float("nan"), float("inf"), 1e300])
def test_other_measurements_do_not(value: float) -> None:
    assert not is_card_value(value)
