from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.catalogue.normal_range import (
    AtLeast,
    AtMost,
    Between,
    Judgement,
    NormalRange,
    NormalRangeUnreadable,
    OneOf,
    Special,
    SpecialSet,
    parse_normal_range,
)

SHAPES: list[NormalRange] = [
    AtMost(5),
    AtLeast(-3),
    Between(-1, 1),
    OneOf((0.0, 5.0)),
    OneOf(("ok", "busy")),
    Special(SpecialSet.STABLE),
]
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))


@pytest.mark.parametrize(
    ("text", "is_text", "expected"),
    [
        ("<=1.5e6", False, AtMost(1.5e6)),
        (">=-105", False, AtLeast(-105)),
        ("-30..30", False, Between(-30, 30)),
        ("12.8..14.4", False, Between(12.8, 14.4)),
        ("0", False, OneOf((0.0,))),
        ("1,5", False, OneOf((1.0, 5.0))),
        ("00", True, OneOf(("00",))),
        ("ok,busy", True, OneOf(("ok", "busy"))),
        ("@stable", True, Special(SpecialSet.STABLE)),
        ("<=2*report_interval", False, Special(SpecialSet.TWO_REPORT_INTERVALS)),
        (None, False, None),
    ],
)
def test_each_text_form_gives_its_shape(text: str | None, is_text: bool, expected: NormalRange | None) -> None:
    assert parse_normal_range(text, is_text_metric=is_text) == expected


@pytest.mark.parametrize("text", ["", "<=", "5..", "<=x", "@no_such", "1,,2"])
def test_a_text_of_no_form_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(NormalRangeUnreadable, match="expected"):
        parse_normal_range(text, is_text_metric=False)


@given(st.sampled_from(SHAPES), values)
@settings(max_examples=200, deadline=None)
def test_judging_never_raises(shape: NormalRange, value: float | str | None) -> None:
    assert shape.judge(value) in Judgement


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_not_measured_is_unknown(shape: NormalRange) -> None:
    assert shape.judge(None) is Judgement.UNKNOWN
    assert shape.judge(math.nan) is Judgement.UNKNOWN


def test_limits_belong_to_the_normal_range() -> None:
    assert AtMost(5).judge(5) is Judgement.IN_RANGE
    assert AtLeast(5).judge(5) is Judgement.IN_RANGE
    assert Between(1, 5).judge(1) is Between(1, 5).judge(5) is Judgement.IN_RANGE


def test_unknown_is_not_abnormal() -> None:
    assert [judgement for judgement in Judgement if judgement.is_abnormal] == [
        Judgement.BELOW,
        Judgement.ABOVE,
        Judgement.OUTSIDE,
    ]
