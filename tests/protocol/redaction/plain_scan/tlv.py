"""Card data in EMV TLV as hex nibbles: 5A, 57, 56, 9F6B, 9F1F, 9F20, 5F20, 99, 9F24 (EMV Book 3, annex A).

Tags are looked for at every nibble, because logs cut buffers anywhere; a tag counts only when its length and content
are those of the tag. 99 and 56 are short, so they count only in a dump that shows other EMV tags.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from protocol.redaction.card_numbers import has_issuer, passes_luhn
from protocol.redaction.findings import HitKind

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAG = re.compile(r"(?=(5A|57|9F6B|9F1F|9F20|5F20|9F24|99|56)(81)?([0-9A-F]{2}))")
_OTHER_EMV_TAG = re.compile(r"9F26|9F10|9F36|9F37|9F27|5F34|5F2A|9F1A|8202")

_PAN = re.compile(r"([0-9]{12,19})F{0,7}")
_TRACK_2 = re.compile(r"[0-9]{12,19}D[0-9]{0,21}F{0,7}")
_PRINTABLE = re.compile(r"(?:[2-7][0-9A-F])+")
_TRACK_1 = re.compile(r"(?:25)?42(?:3[0-9]){12,19}5E[0-9A-F]*")
_HEX = re.compile(r"[0-9A-F]+")

_CONTENT: dict[str, tuple[HitKind, re.Pattern[str], range]] = {
    "57": (HitKind.TRACK, _TRACK_2, range(7, 20)),
    "9F6B": (HitKind.TRACK, _TRACK_2, range(7, 20)),
    "56": (HitKind.TRACK, _TRACK_1, range(20, 80)),
    "9F1F": (HitKind.TRACK, _PRINTABLE, range(1, 64)),
    "9F20": (HitKind.TRACK, _PRINTABLE, range(1, 64)),
    "5F20": (HitKind.HOLDER, _PRINTABLE, range(2, 27)),
    "9F24": (HitKind.HOLDER, _PRINTABLE, range(29, 30)),
    "99": (HitKind.PIN, _HEX, range(8, 9)),
}
_NEEDS_COMPANY = frozenset({"99", "56"})
_PAN_BYTES = range(6, 11)


def sensitive_values(nibbles: str) -> Iterator[tuple[int, int, HitKind, str]]:
    """Start, end, kind and (for a number) last four digits of each value, tag and length not counted."""
    has_company: bool | None = None
    for match in _TAG.finditer(nibbles):
        tag, length = match[1], int(match[3], 16)
        start = match.end(3)
        value = nibbles[start : start + 2 * length]
        if tag == "5A":
            if length in _PAN_BYTES and _is_number(value):
                yield start, start + len(value), HitKind.PAN, value.rstrip("F")[-4:]
            continue
        kind, pattern, lengths = _CONTENT[tag]
        if length not in lengths or len(value) < 2 * length or pattern.fullmatch(value) is None:
            continue
        if tag in _NEEDS_COMPANY:
            has_company = _OTHER_EMV_TAG.search(nibbles) is not None if has_company is None else has_company
            if not has_company:
                continue
        yield start, start + len(value), kind, ""


def _is_number(value: str) -> bool:
    match = _PAN.fullmatch(value)
    return match is not None and (has_issuer(match[1]) or passes_luhn(match[1]))
