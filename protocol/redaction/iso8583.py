"""Card data in an ISO 8583 message printed as hex, as UnionPay terminals send it: TPDU, header, MTI, bitmap, fields.

Reads from TPDU `60 xx xx xx xx` and the header `60 22 …` and walks the fields as far as they can be read; what cannot
be read is left to the other rules. Fields 2, 14, 35, 36, 45, 52, 53, 62 and 64 are sensitive; field 55 is TLV and found
by its tags.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from protocol.redaction.findings import HitKind

if TYPE_CHECKING:
    from collections.abc import Iterator

# After an optional length of two bytes: TPDU of 5 bytes, header of 6 bytes, MTI.
_MESSAGE = re.compile(r"(?:[0-9A-F]{4})?60[0-9]{8}(?:6[0-9][0-9A-F]{10})?(?=0[1-8][0-3][0-5])")
_BITMAP_NIBBLES = 16

# Fixed fields, in nibbles (odd numbers of digits are padded to a byte).
_FIXED = {
    3: 6, 4: 12, 5: 12, 6: 12, 7: 10, 9: 8, 10: 8, 11: 6, 12: 6, 13: 4, 14: 4, 15: 4, 16: 4, 17: 4, 18: 4, 19: 4,
    22: 4, 23: 4, 24: 4, 25: 2, 26: 2, 28: 18, 37: 24, 38: 12, 39: 4, 40: 6, 41: 16, 42: 30, 49: 6, 50: 6, 51: 6,
    52: 16, 53: 16, 64: 16,
}  # fmt: skip
# Variable fields: bytes of the BCD length, and whether it counts digits (two a byte) or bytes.
_VARIABLE = {
    2: (1, True), 32: (1, True), 33: (1, True), 35: (1, True), 36: (2, True), 43: (1, False), 44: (1, False),
    45: (1, False), 46: (2, False), 47: (2, False), 48: (2, True), 54: (2, False), 55: (2, False), 56: (2, False),
    57: (2, False), 58: (2, False), 59: (2, False), 60: (2, True), 61: (2, True), 62: (2, False), 63: (2, False),
}  # fmt: skip
_SENSITIVE = {
    2: HitKind.PAN,
    14: HitKind.TRACK,
    35: HitKind.TRACK,
    36: HitKind.TRACK,
    45: HitKind.TRACK,
    52: HitKind.PIN,
    53: HitKind.KEY,
    62: HitKind.KEY,
    64: HitKind.KEY,
}


def sensitive_fields(nibbles: str) -> Iterator[tuple[int, int, HitKind, str]]:
    """Start, end, kind and (for a number) last four digits of each sensitive field's value, its length not counted."""
    message = _MESSAGE.match(nibbles)
    if message is None:
        return
    bitmap_at = message.end() + 4
    bitmap = nibbles[bitmap_at : bitmap_at + _BITMAP_NIBBLES]
    if len(bitmap) < _BITMAP_NIBBLES:
        return
    bits = int(bitmap, 16)
    at = bitmap_at + _BITMAP_NIBBLES
    for field in range(2, 65):
        if not bits >> (64 - field) & 1:
            continue
        span = _value_span(nibbles, at, field)
        if span is None:
            return
        start, stop, at = span
        end = min(at, len(nibbles))  # a padding digit goes with the value
        if field in _SENSITIVE and end > start:
            yield start, end, _SENSITIVE[field], nibbles[start:stop][-4:]


def _value_span(nibbles: str, at: int, field: int) -> tuple[int, int, int] | None:
    """Start and end of the value and where the next field starts; None when the message is over or not understood."""
    if at >= len(nibbles):
        return None
    if field in _FIXED:
        return at, at + _FIXED[field], at + _FIXED[field]
    if field not in _VARIABLE:
        return None
    length_bytes, counts_digits = _VARIABLE[field]
    start = at + 2 * length_bytes
    length_text = nibbles[at:start]
    if not length_text.isdecimal():
        return None
    length = int(length_text) if counts_digits else 2 * int(length_text)
    return start, start + length, start + length + length % 2
