"""The quick scan against one that reads every text whole with plain patterns: they find the same."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings

from protocol.redaction import scrub
from protocol.redaction.borders import groups, is_border
from protocol.redaction.scrubber import find_card_data
from protocol.redaction.views import fold
from tests.protocol.redaction.awkward_texts import awkward_texts, seeded_text
from tests.protocol.redaction.card_samples import FORMS, generated
from tests.protocol.redaction.plain_scan import scrubber as plain

CORPUS = Path(__file__).resolve().parents[2] / "golden" / "pan_corpus.jsonl"
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


def test_ordinary_log_lines_have_borders_between_them() -> None:
    lines = ["10:11:12 I PosApp: paper is changed", "10:11:13 I trace=000123", "2026-03-02 10:11:14 rc=00", "I idle"]
    draw = random.Random(3)
    text = "\n".join(draw.choice(lines) for _ in range(400))
    starts = [at for at in range(1, len(text)) if text[at - 1] == "\n"]
    assert all(is_border(text, at) for at in starts)
    assert groups(text, [(starts[9] + 3, starts[9] + 5)]) == [(starts[9], starts[10])]
