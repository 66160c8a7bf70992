from __future__ import annotations

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.shown_text import cell, harmless_stream, lines, one_line
from tests.support.hostile import CORPUS, formulas, steering

STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_all_that_steers_is_escaped_and_all_that_is_read_stays() -> None:
    for code in range(sys.maxunicode + 1):
        sign = chr(code)
        category = unicodedata.category(sign)
        # What is not assigned yet may become either.
        assert category == "Cn" or (one_line(sign) != sign) == (category in STEERING), hex(code)
    assert lines("a\n\tb") == "a\n\tb"


@pytest.mark.parametrize("text", CORPUS)
def test_a_hostile_text_is_one_line_and_no_formula(text: str) -> None:
    assert not steering(one_line(text), but="")
    assert not steering(lines(text), but="\n\t")
    table = f'"{cell(text).replace(chr(34), chr(34) * 2)}"\r\n'
    assert formulas(table) == []


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_document_of_json_says_the_same_after_it(text: str) -> None:
    shown = one_line(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(shown) == {text: [text]}
    assert len(shown.splitlines()) == 1


def test_numbers_and_words_are_cells_as_they_are() -> None:
    assert [cell(text) for text in ("5", "小票打印机", "a=b", "")] == ["5", "小票打印机", "a=b", ""]


def test_a_stream_of_the_system_lets_nothing_through() -> None:
    below = io.BytesIO()
    stream = harmless_stream(io.TextIOWrapper(below, encoding="ascii"))
    for text in CORPUS:
        print(text, file=stream)
    stream.write("\ud800\n")
    stream.flush()
    assert not steering(below.getvalue().decode(), but="\n\t")


def test_a_stream_of_a_test_is_left_as_it_is() -> None:
    own = io.StringIO()
    assert harmless_stream(own) is own
