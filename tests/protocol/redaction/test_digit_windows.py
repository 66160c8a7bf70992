"""The windows that arithmetic finds, held against a count of each by itself."""

from __future__ import annotations

import random
import re

import pytest

from protocol.redaction.card_numbers import MAX_DIGITS, MIN_DIGITS, issuer_lengths, passes_luhn
from protocol.redaction.digit_windows import any_windows, packed_windows, window_lengths, written_windows

LENGTHS = range(MIN_DIGITS, MAX_DIGITS + 1)


def numbers_in(digits: str) -> set[tuple[int, int]]:
    return {
        (start, length)
        for start in range(len(digits))
        for length in issuer_lengths(digits[start : start + 6]) & set(LENGTHS)
        if start + length <= len(digits) and passes_luhn(digits[start : start + length])
    }


def drawn(seed: int, size: int) -> str:
    draw = random.Random(seed)
    return "".join(draw.choice("0123456789") for _ in range(size))


@pytest.mark.parametrize("size", [12, 30, 200, 8192, 8200, 20_000])
def test_every_number_in_a_run_is_named_and_nothing_that_fails_luhn(size: int) -> None:
    digits = drawn(size, size)
    named = set(any_windows(digits, frozenset()))
    assert numbers_in(digits) <= named
    assert all(passes_luhn(digits[start : start + length]) for start, length in named)


@pytest.mark.parametrize("into_byte", [0, 1])
def test_packed_numbers_are_on_a_border_of_bytes_or_of_the_digits(into_byte: int) -> None:
    digits = drawn(into_byte, 999)
    wanted = {
        (start, length)
        for start, length in numbers_in(digits)
        if (start % 2 == into_byte or start == 0)
        and ((start + length) % 2 == into_byte or start + length == len(digits))
    }
    masks = packed_windows(digits, into_byte)
    named = {(start, length) for start, mask in enumerate(masks) for length in window_lengths(mask)}
    assert wanted <= named
    assert named <= set(any_windows(digits, frozenset()))


def test_what_need_not_pass_luhn_is_named_by_its_length_alone() -> None:
    digits = "6222020000000001"
    assert not passes_luhn(digits)
    assert (0, 16) in any_windows(digits, frozenset({16}))
    assert (0, 16) not in any_windows(digits, frozenset())


@pytest.mark.parametrize("between", [" ", "-", ".", "_", "/", "\n", "\r\n", " \n  ", "\\\n", "\n> ", "\t+\n"])
def test_groups_that_hang_together_make_one_number(between: str) -> None:
    text = f"a 4111{between}1111{between}1111{between}1111 b"
    windows = [text[one.start : one.end] for one in written_windows(text.encode(), frozenset())]
    assert windows == [text[2:-2]]


@pytest.mark.parametrize("between", ["--", "x", " - ", "=", "\n=", ". "])
def test_groups_that_do_not_are_none(between: str) -> None:
    text = f"a 4111{between}1111{between}1111{between}1111 b"
    assert list(written_windows(text.encode(), frozenset())) == []


def test_a_window_keeps_to_the_borders_of_groups() -> None:
    draw = random.Random(8)
    text = " ".join(str(draw.randrange(10 ** draw.randrange(1, 7))) for _ in range(4000))
    groups = [match.span() for match in re.finditer("[0-9]+", text)]
    begins, ends = {start for start, _ in groups}, {end for _, end in groups}
    windows = list(written_windows(text.encode(), frozenset()))
    assert len(windows) > 100
    assert all(one.start in begins and one.end in ends for one in windows)


def test_no_window_begins_inside_columns() -> None:
    windows = written_windows(b"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 " * 9, frozenset())
    assert [one.start for one in windows] == [0]
