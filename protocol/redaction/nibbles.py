"""Finds card data in a run of hex digits, read as nibbles: BCD in either nibble order, F padding, tags, tracks, fields.

Bare runs of decimal digits are `written_forms`' part: without a hex letter or separated bytes nothing says that they
are a dump, and order numbers are long; there only a whole ISO 8583 message or a length prefix counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from protocol.redaction.card_numbers import (
    MAX_DIGITS,
    MIN_DIGITS,
    PREFIX_DIGITS,
    TABLE_DIGITS,
    LuhnSums,
    common_lengths,
    common_table,
    has_issuer,
    is_card_number,
    issuer_lengths,
    issuer_table,
    passes_luhn,
)
from protocol.redaction.findings import HitKind
from protocol.redaction.iso8583 import sensitive_fields
from protocol.redaction.sieve import digit_classes, runs
from protocol.redaction.tlv import sensitive_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    # Start, end, kind and, for a number, its last four digits.
    Found = tuple[int, int, HitKind, str]

# The separator first, so that a search needs to look only there.
_TRACK_2_SEPARATOR = re.compile(r"D(?<=[0-9]{12}D)(?=[0-9]{7})")
_TRACK_2_REST = re.compile(r"D[0-9]{7,24}F?")
_DIGITS_BEFORE = re.compile(r"[0-9]{12,21}\Z")
_MAX_TRACK_DIGITS = 21
_LUHN_EXEMPT_LENGTHS = frozenset({16, 19})
_LENGTH_PREFIXED = re.compile(r"1[2-9](?=[0-9]{12})")
_MIN_LENGTH_PREFIXED_RUN = 40  # longer than any order number, so that this is a message
_MIN_BCD_DIGITS = 13
_MIN_DECIMAL_DUMP = 24  # a PIN in TLV with the tag that shows that it is TLV
_LONG_RUN = 24
_FRAMING_NIBBLES = 8  # start, length, end and check bytes around a number that is alone in its frame
_MAX_ALONE = MAX_DIGITS + _FRAMING_NIBBLES // 2 + _FRAMING_NIBBLES
_SWAPPED_ALONE = frozenset({16, 18})  # digits of a bare run that may be a number with its nibbles swapped


def find_in_nibbles(nibbles: str, *, is_dump: bool) -> Iterator[Found]:
    """`nibbles` in upper case; `is_dump`: separated bytes or a hex letter, so certainly not a decimal number."""
    if is_dump or len(nibbles) >= _MIN_DECIMAL_DUMP:
        yield from sensitive_values(nibbles)
        yield from sensitive_fields(nibbles)
    if "D" in nibbles:
        yield from _tracks(nibbles)
    if len(nibbles) >= _MIN_LENGTH_PREFIXED_RUN:
        yield from _length_prefixed(nibbles)
    if is_dump:
        yield from _bcd_numbers(nibbles)
        if len(nibbles) <= _MAX_ALONE or "F" in nibbles:
            yield from _bcd_numbers(_swapped(nibbles), only_alone=True)
    elif len(nibbles) in _SWAPPED_ALONE and (other := _swapped(nibbles)).startswith("62") and is_card_number(other):
        yield 0, len(nibbles), HitKind.PAN, other[-4:]


def _tracks(nibbles: str) -> Iterator[Found]:
    end = 0
    for separator in _TRACK_2_SEPARATOR.finditer(nibbles):
        at = separator.start()
        number = _DIGITS_BEFORE.search(nibbles, max(end, at - _MAX_TRACK_DIGITS), at)
        rest = _TRACK_2_REST.match(nibbles, at)
        if number is None or rest is None:
            continue
        end = rest.end()
        start = _number_start(number[0])
        if start is not None:
            yield number.start() + start, end, HitKind.TRACK, ""


def _number_start(digits: str) -> int | None:
    """The digits before the separator may begin with a tag and length: the number is what an issuer would issue."""
    lengths = range(min(MAX_DIGITS, len(digits)), MIN_DIGITS - 1, -1)
    for is_number in (is_card_number, has_issuer):
        for length in lengths:
            if is_number(digits[-length:]):
                return len(digits) - length
    return 0 if len(digits) in _LUHN_EXEMPT_LENGTHS else None


def _length_prefixed(nibbles: str) -> Iterator[Found]:
    for match in _LENGTH_PREFIXED.finditer(nibbles):
        if match.start() % 2 == 0:
            digits = nibbles[match.end() : match.end() + int(match[0])]
            if has_issuer(digits) and digits.isdecimal() and is_card_number(digits):
                yield match.end(), match.end() + len(digits), HitKind.PAN, digits[-4:]


def _bcd_numbers(nibbles: str, *, only_alone: bool = False) -> Iterator[Found]:
    """Numbers in packed decimal that end on a byte's border, where the digits end, or at an F.

    Frames are full of dates and counters; `only_alone` asks for a frame with little else in it, or an F.
    """
    for begin, stop in runs(digit_classes(nibbles.encode()), _MIN_BCD_DIGITS):
        is_padded = nibbles[stop : stop + 1] == "F"
        is_number_alone = (
            len(nibbles) - (stop - begin) <= _FRAMING_NIBBLES and stop - begin <= MAX_DIGITS + _FRAMING_NIBBLES // 2
        )
        if only_alone and not (is_number_alone or is_padded):
            continue
        lengths_of, table = (
            (issuer_lengths, issuer_table()) if is_number_alone or is_padded else (common_lengths, common_table())
        )
        sums: LuhnSums | None = None
        # Numbers begin on a byte's border, or where the digits begin.
        for start in (begin, *range(begin + 2 - begin % 2, stop - _MIN_BCD_DIGITS + 1, 2)):
            lengths = table[int(nibbles[start : start + TABLE_DIGITS])]
            for length in lengths_of(nibbles[start : start + PREFIX_DIGITS]) if lengths is None else lengths:
                end = start + length
                if end > stop or (end % 2 and end != stop) or length < _MIN_BCD_DIGITS:
                    continue
                if sums is None and stop - begin > _LONG_RUN:
                    sums = LuhnSums(nibbles[begin:stop])
                if passes_luhn(nibbles[start:end]) if sums is None else sums.passes(start - begin, end - begin):
                    yield start, end + (is_padded and end == stop), HitKind.PAN, nibbles[end - 4 : end]


def _swapped(nibbles: str) -> str:
    octets = nibbles.encode()
    even = len(octets) - len(octets) % 2
    swapped = bytearray(octets)
    swapped[0:even:2], swapped[1:even:2] = octets[1:even:2], octets[0:even:2]
    return swapped.decode()
