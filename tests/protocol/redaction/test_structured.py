from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.redaction import IdentifierField, pass_identifier, scrub_json
from tests.protocol.redaction.card_samples import card_numbers

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_strings_numbers_and_keys_are_scrubbed_wherever_they_stand() -> None:
    value: Any = {"log": ["card 4111111111111111"], "acct": 5555555555554444, "6200000000000005": {"ok": True}, "n": 7}
    assert scrub_json(value) == {
        "log": ["card [PAN …1111]"],
        "acct": "[PAN …4444]",
        "[PAN …0005]": {"ok": True},
        "n": 7,
    }


def test_a_key_gives_its_value_a_meaning() -> None:
    assert scrub_json({"pin": "1234", "cvv": 123, "count": "1234"}) == {"pin": "[PIN]", "cvv": "[CVV]", "count": "1234"}


def test_a_number_as_a_float_is_no_way_around() -> None:
    assert scrub_json([4111111111111111.0]) == ["[PAN …1111]"]


def test_what_lies_too_deep_is_dropped() -> None:
    value: Any = "4111111111111111"
    for _ in range(100):
        value = [value]
    assert "1111" not in json.dumps(scrub_json(value))
    assert scrub_json([["x"]], max_depth=1) == ["[DROPPED: TOO DEEP]"]


@given(json_values)
@settings(max_examples=80, deadline=None)
def test_any_json_passes_and_twice_is_as_once(value: Any) -> None:
    once = scrub_json(value)
    assert scrub_json(once) == once


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (IdentifierField.IMEI, "356938035643809"),
        (IdentifierField.ICCID, "8986012345678901234"),
    ],
)
def test_an_identifier_of_exact_shape_passes(field: IdentifierField, value: str) -> None:
    assert pass_identifier(field, value) == value


@given(number=card_numbers(), field=st.sampled_from(IdentifierField))
@settings(max_examples=150, deadline=None)
def test_a_card_number_passes_as_no_identifier(number: str, field: IdentifierField) -> None:
    assert pass_identifier(field, number) != number
