"""Texts in CSV files: what a spreadsheet would take for a formula gets an apostrophe (OWASP, CSV injection)."""

from __future__ import annotations

# What a spreadsheet may take for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
