"""What people write in words, whichever door it comes by: no card data, because somebody does paste a card number."""

from __future__ import annotations

from typing import Final

from pydantic import AfterValidator

from protocol.redaction import scrub

EXPECTED_NONE: Final = "expected no card data, came some"


def holds_card_data(text: str) -> bool:
    return bool(scrub(text).hits)


def _words(text: str) -> str:
    if holds_card_data(text):
        raise ValueError(EXPECTED_NONE)
    return text


FreeText = AfterValidator(_words)
