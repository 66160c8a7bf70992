from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec
from protocol.errors import Malformed
from protocol.parameters import (
    MAX_TEXT_CHARS,
    Choice,
    Parameter,
    ParamType,
    ParamValue,
    Words,
    check_params,
    is_quick,
)

WORDS = Words("字", "word")
DECLARED = [
    Parameter("host", WORDS, ParamType.TEXT, pattern=r"[a-z.]+", max_length=20, required=False),
    Parameter("port", WORDS, ParamType.INTEGER, unit="", minimum=1, maximum=65535, default=443),
    Parameter("share", WORDS, ParamType.NUMBER, unit="%", minimum=0, maximum=100, required=False),
    Parameter("mode", WORDS, ParamType.CHOICE, choices=[Choice("fast", WORDS), Choice("slow", WORDS)], default="fast"),
    Parameter("loud", WORDS, ParamType.SWITCH, default=False),
]
values = st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=30)


def errors_of(given_params: dict[str, ParamValue]) -> list[str]:
    answer = check_params(DECLARED, given_params)
    assert isinstance(answer, list)
    return [str(error) for error in answer]


def test_defaults_are_filled_in() -> None:
    assert check_params(DECLARED, {}) == {"port": 443, "mode": "fast", "loud": False}


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"port": 0}, "port: expected a whole number of at least 1, came 0"),
        ({"port": 65536}, "port: expected a whole number of at most 65535, came 65536"),
        ({"port": True}, "port: expected a whole number, came True"),
        ({"port": 1.5}, "port: expected a whole number, came 1.5"),
        ({"share": math.nan}, "share: expected a number, came nan"),
        ({"share": 101.0}, "share: expected a number of at most 100 %, came 101.0"),
        ({"mode": "odd"}, "mode: expected one of fast, slow, came 'odd'"),
        ({"loud": 1}, "loud: expected true or false, came 1"),
        ({"host": "A"}, "host: expected text of the form [a-z.]+, came 'A'"),
        ({"host": "a\nb"}, "host: expected printable text of at most 20 characters, came 'a\\nb'"),
        ({"nope": 1}, "nope: expected a declared parameter, came an unknown name"),
    ],
)
def test_refusal_names_what_was_expected_and_what_came(params: dict[str, ParamValue], error: str) -> None:
    assert errors_of(params) == [error]


def test_required_parameter_without_default_must_be_given() -> None:
    required = Parameter("name", WORDS, ParamType.TEXT)
    answer = check_params([required], {})
    assert isinstance(answer, list)
    assert str(answer[0]) == "name: expected a value, came nothing"


@given(params=st.dictionaries(st.sampled_from(["host", "port", "share", "mode", "loud", "other"]), values))
def test_what_is_accepted_is_declared_typed_and_in_range(params: dict[str, ParamValue]) -> None:
    answer = check_params(DECLARED, params)
    if isinstance(answer, dict):
        assert set(answer) <= {parameter.name for parameter in DECLARED}
        assert type(answer["port"]) is int
        assert 1 <= answer["port"] <= 65535
        assert answer["mode"] in {"fast", "slow"}
        assert type(answer["loud"]) is bool


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a|a)*",
        "a*a*a*a*b",
        "a?a?a?a?aaaa",
        "(.*)*",
        "[",
        "[z-a]",
        "a{9,1}",
        "(?=a)a",
        r"(a)\1",
        "a{1,999999}",
        ".",
    ],
)
def test_a_pattern_that_could_keep_the_server_busy_is_not_taken(pattern: str) -> None:
    declared = {"name": "host", "type": "text", "title": {"zh": "主机", "en": "host"}, "pattern": pattern}
    assert isinstance(codec.from_json(codec.to_json(declared), Parameter), Malformed)


def test_patterns_in_use_are_taken_and_the_slowest_ends_at_once() -> None:
    for pattern in (
        r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,126}[A-Za-z0-9])?",
        "[0-9a-f-]{36}",
        "[a-z][a-z0-9_]{0,31}",
        r"\d{4}",
    ):
        assert is_quick(pattern)
    slowest = Parameter("host", WORDS, ParamType.TEXT, pattern="a*a*a*b", max_length=MAX_TEXT_CHARS)
    began_s = time.thread_time()
    assert isinstance(check_params([slowest], {"host": "a" * MAX_TEXT_CHARS}), list)
    assert time.thread_time() - began_s < 1
