from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from protocol.redaction import scrub
from protocol.redaction.scrubber import find_card_data

CORPUS = Path(__file__).resolve().parents[2] / "golden" / "pan_corpus.jsonl"
CASES: list[dict[str, Any]] = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]


def cases(*expect: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES if case["expect"] in expect]


@pytest.mark.parametrize("case", cases("mask", "drop"))
def test_what_must_go_is_gone(case: dict[str, Any]) -> None:
    findings = find_card_data(case["text"])
    for span in case["spans"]:
        covering = [found for found in findings if found.start <= span["start"] and span["end"] - 1 <= found.end]
        assert covering, (case, findings)
        assert case["text"][span["start"] : span["end"]] not in scrub(case["text"]).text


@pytest.mark.parametrize("case", cases("drop"))
def test_of_tracks_and_pins_nothing_is_left(case: dict[str, Any]) -> None:
    scrubbed = scrub(case["text"])
    for span in case["spans"]:
        secret = case["text"][span["start"] : span["end"]]
        assert secret[-4:] not in scrubbed.text
        assert "PAN …" not in scrubbed.text


@pytest.mark.parametrize("case", cases("keep"))
def test_what_is_no_card_stays_as_it_was(case: dict[str, Any]) -> None:
    scrubbed = scrub(case["text"])
    assert scrubbed.text == case["text"]
    assert scrubbed.hits == ()


@pytest.mark.parametrize("case", cases("mask", "drop", "keep", "either"))
def test_scrubbing_twice_changes_nothing_more(case: dict[str, Any]) -> None:
    once = scrub(case["text"])
    assert scrub(once.text) == type(once)(once.text, ())
