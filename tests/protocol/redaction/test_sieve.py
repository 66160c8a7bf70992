"""The quick scan against one that reads every text whole with plain patterns: they find the same."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from protocol.redaction import scrub
from protocol.redaction.borders import groups, is_border
from protocol.redaction.scrubber import find_card_data
from protocol.redaction.sieve import Reading
from protocol.redaction.views import fold
from protocol.redaction.written_forms import is_dense
from tests.protocol.redaction.awkward_texts import awkward_texts, dense_text, packed_text, seeded_text
from tests.protocol.redaction.card_samples import FORMS, generated
from tests.protocol.redaction.plain_scan import scrubber as plain

CORPUS = Path(__file__).resolve().parents[2] / "golden" / "pan_corpus.jsonl"
MakeText = Callable[[random.Random, list[str], int], str]
BLOCK = 1 << 13  # more digits than arithmetic takes in one go
LABELLED = [json.loads(line)["text"] for line in CORPUS.read_text(encoding="utf-8").splitlines()]


@given(awkward_texts)
@settings(max_examples=400, deadline=None)
def test_the_sieve_loses_nothing_and_adds_nothing(text: str) -> None:
    assert find_card_data(text) == plain.find_card_data(text)


@pytest.mark.parametrize("seed", range(4))
def test_nor_does_it_on_thousands_of_seeded_texts(seed: int) -> None:
    draw = random.Random(seed)
    numbers = generated(200, seed)
    for _ in range(750):
        text = seeded_text(draw, numbers)
        assert find_card_data(text) == plain.find_card_data(text), f"seed {seed}"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("make", [dense_text, packed_text])
def test_nor_does_it_where_there_is_little_but_digits(
    make: Callable[[random.Random, list[str], int], str], seed: int
) -> None:
    draw = random.Random(seed)
    numbers = generated(200, seed)
    for size in (50, 50, 50, 300, 2500, 6000):
        text = make(draw, numbers, size)
        assert find_card_data(text) == plain.find_card_data(text), f"seed {seed}"


def test_digits_further_on_than_one_block_are_found_too() -> None:
    text = "1 " * 3 * BLOCK + " 6222020000000007 \n" + "12 " * BLOCK
    assert is_dense(Reading(text))
    assert [text[one.start : one.end] for one in find_card_data(text)] == ["6222020000000007"]


@pytest.mark.parametrize("name", ["card ", "card_no: ", "PAN=", '"acct":"', "account#", "卡号：", "账号"])
def test_a_field_that_decides_on_a_number_is_seen_among_digits_too(name: str) -> None:
    text = "12 " * 2000 + f"x\n{name}6222020000000008\n" + "12 " * 2000
    assert is_dense(Reading(fold(text)))
    assert [text[one.start : one.end] for one in find_card_data(text)] == ["6222020000000008"]


@given(awkward_texts)
@settings(max_examples=250, deadline=None)
def test_what_is_written_is_the_same_too(text: str) -> None:
    scrubbed = plain.scrub(text).text
    if scrubbed != "[REDACTED]":  # there whole texts go that do not come to rest; here only their lines
        assert scrub(text).text == scrubbed


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found_where_a_plain_scan_finds_it(form: str) -> None:
    for number in generated(54, seed=len(form)):
        text = f"10:11:12 I PosApp: {FORMS[form](number)}"
        assert find_card_data(text) == plain.find_card_data(text)


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(b"4111-1111-1111-1111").decode(),
        base64.b64encode(b"4111_1111/1111 1111").decode(),
        base64.b64encode("4111111111111111".encode("utf-16le")).decode(),
        base64.b64encode(bytes.fromhex("4111111111111111")).decode(),
        'PIN BLOCK": = "0x5AEF7AC86D66C7A6',
        "DE-052 : [5A EF 7A C8 6D 66 C7 A6",
        "F52\n5A EF 7A C8 6D 66 C7 A6",
        "TMK] : '0x0123456789ABCDEFFEDCBA9876543210",
    ],
)
def test_what_is_written_in_an_unusual_way_passes_the_sieve(text: str) -> None:
    assert find_card_data(text)
    assert find_card_data(text) == plain.find_card_data(text)


def test_the_labelled_corpus_in_one_text_is_scanned_alike() -> None:
    text = "\n".join(LABELLED)
    assert find_card_data(text) == plain.find_card_data(text)


@given(awkward_texts)
@settings(max_examples=250, deadline=None)
def test_what_is_found_in_a_text_is_what_is_found_between_its_borders(text: str) -> None:
    folded = fold(text)
    borders = [at for at in range(1, len(text)) if text[at - 1] == "\n" and is_border(folded, at)]
    apart = [
        found._replace(start=found.start + start, end=found.end + start)
        for start, end in zip([0, *borders], [*borders, len(text)], strict=True)
        for found in plain.find_card_data(text[start:end])
    ]
    assert apart == plain.find_card_data(text)


@pytest.mark.parametrize(
    "text",
    [
        "a 62220200\n00000007 b",
        "a x62\n00 12 34 56 78 90 b",
        "a 62 00\n12 34 56 78 90 b",
        "a 62 00 12 34 56 78\n90 b",
        "a gAF\nB0 1C 34 5D 78 9E b",
        "a AF B0\nC1 D2 E3 F4 A5 b",
        "a pan 62228461\n68576075 b",
        "a TMK\n0123456789ABCDEF",
        "a F52=\n0123456789ABCDEF",
    ],
)
@pytest.mark.parametrize(
    "write",
    [
        str,
        FORMS["json escapes"],
        FORMS["xml entities"],
        lambda text: "".join(f"%{ord(char):02X}" for char in text),
        "\u200b".join,
    ],
)
def test_a_break_that_a_rule_looks_across_is_no_border(text: str, write: Callable[[str], str]) -> None:
    before, after = text.split("\n")
    for far in ("", "10:11:12 I PosApp: state idle, " * 9):
        written = f"{far}{write(before)}\n{write(after)}{far}\n"
        at = written.index("\n") + 1
        assert not is_border(fold(written), at), written


def test_ordinary_log_lines_have_borders_between_them() -> None:
    lines = ["10:11:12 I PosApp: paper is changed", "10:11:13 I trace=000123", "2026-03-02 10:11:14 rc=00", "I idle"]
    draw = random.Random(3)
    text = "\n".join(draw.choice(lines) for _ in range(400))
    starts = [at for at in range(1, len(text)) if text[at - 1] == "\n"]
    assert all(is_border(text, at) for at in starts)
    assert groups(text, [(starts[9] + 3, starts[9] + 5)]) == [(starts[9], starts[10])]
