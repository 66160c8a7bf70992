"""Finds card data in hex as logs print it: `62200039…`, `62 20 00 39`, `0x62, 0x20`, TLV, ISO 8583, BCD, ASCII, EBCDIC.

A run of hex is read as nibbles (BCD, either nibble order, F padding, tags, tracks) and as bytes of text. Bare runs of
decimal digits are `written_forms`' part: without a hex letter or separated bytes nothing says that they are a dump, and
order numbers are long; there only a whole ISO 8583 message or a length prefix counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.redaction.card_numbers import (
    MAX_DIGITS,
    MIN_DIGITS,
    PREFIX_DIGITS,
    common_lengths,
    has_issuer,
    is_card_number,
    issuer_lengths,
    passes_luhn,
)
from protocol.redaction.findings import Finding, HitKind
from protocol.redaction.iso8583 import sensitive_fields
from tests.protocol.redaction.plain_scan.tlv import sensitive_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONTIGUOUS = re.compile(r"[0-9A-Fa-f]{16,}")
# In the next line it goes on only with a byte: an offset of four or eight digits begins a line of its own.
_SEPARATED = re.compile(
    r"(?<![0-9A-Fa-f])(?:0x|\\x)?[0-9A-Fa-f]{2}"
    r"(?:(?:[ :,\-]|, |,? ?0x|\\x|[ \t]{0,4}\r?\n[ \t]{0,16}(?![0-9A-Fa-f]{3}))[0-9A-Fa-f]{2}){6,}"
)
_LINE = re.compile(r"[^\n]{20,}")  # at least the seven bytes that make a dump
_BYTE = re.compile(r"(?:0x|\\x)?([0-9A-Fa-f]{2})")

_TRACK_2 = re.compile(r"[0-9]{12,21}D[0-9]{7,24}F?")
_LUHN_EXEMPT_LENGTHS = frozenset({16, 19})
_BCD_RUN = re.compile(r"[0-9]{13,}")
_LENGTH_PREFIXED = re.compile(r"1[2-9](?=[0-9]{12})")
_MIN_LENGTH_PREFIXED_RUN = 40  # longer than any order number, so that this is a message
_MIN_BCD_DIGITS = 13
_FRAMING_NIBBLES = 8  # start, length, end and check bytes around a number that is alone in its frame
_SWAPPED_ALONE = frozenset({16, 18})  # digits of a bare run that may be a number with its nibbles swapped
_TEXT_DIGITS = re.compile(r"[0-9](?:[ \-._/]*[0-9]){11}|\^")


@dataclass(frozen=True, slots=True)
class _Dump:
    nibbles: str  # upper case
    positions: tuple[int, ...] | None  # of each nibble in the text; None: contiguous from `start`
    start: int
    is_dump: bool  # separated bytes or a hex letter: certainly not a decimal number

    def finding(self, start: int, end: int, kind: HitKind, last_four: str = "") -> Finding:
        if self.positions is None:
            return Finding(self.start + start, self.start + end, kind, last_four)
        return Finding(self.positions[start], self.positions[end - 1] + 1, kind, last_four)


def find_in_hex(text: str, scan_text: Callable[[str], list[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    for dump in _dumps(text):
        found.extend(_in_nibbles(dump))
        found.extend(_in_bytes(dump, scan_text))
    return found


def _dumps(text: str) -> Iterator[_Dump]:
    for match in _CONTIGUOUS.finditer(text):
        nibbles = match[0].upper()
        yield _Dump(nibbles, None, match.start(), is_dump=not nibbles.isdecimal())
    for match in _SEPARATED.finditer(text):
        yield _separated(text, match.start(), match.end())
        if "\n" in match[0]:
            # The next line may be one that merely begins with two digits, so each counts by itself too.
            for line in _LINE.finditer(text, match.start(), match.end()):
                yield _separated(text, line.start(), line.end())


def _separated(text: str, start: int, end: int) -> _Dump:
    spans = [byte.start(1) for byte in _BYTE.finditer(text, start, end)]
    nibbles = "".join(text[position : position + 2] for position in spans).upper()
    return _Dump(nibbles, tuple(at for position in spans for at in (position, position + 1)), start, is_dump=True)


def _in_nibbles(dump: _Dump) -> Iterator[Finding]:
    nibbles = dump.nibbles
    for found in (*sensitive_values(nibbles), *sensitive_fields(nibbles)):
        yield dump.finding(*found)
    for match in _TRACK_2.finditer(nibbles):
        start = _number_start(match)
        if start is not None:
            yield dump.finding(start, match.end(), HitKind.TRACK)
    if len(nibbles) >= _MIN_LENGTH_PREFIXED_RUN:
        yield from _length_prefixed(dump)
    if dump.is_dump:
        yield from _bcd_numbers(dump, nibbles)
        yield from _bcd_numbers(dump, _swapped(nibbles), only_alone=True)
    elif len(nibbles) in _SWAPPED_ALONE and (other := _swapped(nibbles)).startswith("62") and is_card_number(other):
        yield dump.finding(0, len(nibbles), HitKind.PAN, other[-4:])


def _number_start(track: re.Match[str]) -> int | None:
    """The digits before the separator may begin with a tag and length: the number is what an issuer would issue."""
    digits = track[0].partition("D")[0]
    lengths = range(min(MAX_DIGITS, len(digits)), MIN_DIGITS - 1, -1)
    for is_number in (is_card_number, has_issuer):
        for length in lengths:
            if is_number(digits[-length:]):
                return track.start() + len(digits) - length
    return track.start() if len(digits) in _LUHN_EXEMPT_LENGTHS else None


def _length_prefixed(dump: _Dump) -> Iterator[Finding]:
    for match in _LENGTH_PREFIXED.finditer(dump.nibbles):
        digits = dump.nibbles[match.end() : match.end() + int(match[0])]
        if match.start() % 2 == 0 and digits.isdecimal() and is_card_number(digits):
            yield dump.finding(match.end(), match.end() + len(digits), HitKind.PAN, digits[-4:])


def _bcd_numbers(dump: _Dump, nibbles: str, *, only_alone: bool = False) -> Iterator[Finding]:
    """Numbers in packed decimal that end on a byte's border, where the digits end, or at an F.

    Frames are full of dates and counters; `only_alone` asks for a frame with little else in it, or an F.
    """
    for run in _BCD_RUN.finditer(nibbles):
        begin, stop = run.span()
        is_padded = nibbles[stop : stop + 1] == "F"
        is_number_alone = (
            len(nibbles) - (stop - begin) <= _FRAMING_NIBBLES and stop - begin <= MAX_DIGITS + _FRAMING_NIBBLES // 2
        )
        if only_alone and not (is_number_alone or is_padded):
            continue
        lengths_of = issuer_lengths if is_number_alone or is_padded else common_lengths
        # Numbers begin on a byte's border, or where the digits begin.
        starts = [begin, *range(begin + 2 - begin % 2, stop - _MIN_BCD_DIGITS + 1, 2)]
        for start in starts:
            for length in lengths_of(nibbles[start : start + PREFIX_DIGITS]):
                end = start + length
                is_on_border = end % 2 == 0 or end == stop
                if is_on_border and _MIN_BCD_DIGITS <= length <= stop - start and passes_luhn(nibbles[start:end]):
                    last_four = nibbles[end - 4 : end]
                    yield dump.finding(start, end + (is_padded and end == stop), HitKind.PAN, last_four)


def _swapped(nibbles: str) -> str:
    even = len(nibbles) - len(nibbles) % 2
    pairs = [nibbles[at + 1] + nibbles[at] for at in range(0, even, 2)]
    return "".join(pairs) + nibbles[even:]


def _in_bytes(dump: _Dump, scan_text: Callable[[str], list[Finding]]) -> Iterator[Finding]:
    """The bytes read as text: ASCII at both alignments, UTF-16 without its zero bytes, EBCDIC digits."""
    for shift in (0, 1):
        octets = [(at, int(dump.nibbles[at : at + 2], 16)) for at in range(shift, len(dump.nibbles) - 1, 2)]
        kept = [(at, octet) for at, octet in octets if octet]
        for reading in ("".join(chr(octet) for _, octet in kept), "".join(_ebcdic(octet) for _, octet in kept)):
            if _TEXT_DIGITS.search(reading) is None:
                continue
            for found in scan_text(reading):
                first, last = kept[found.start][0], kept[found.end - 1][0]
                yield dump.finding(first, last + 2, found.kind, found.last_four)


def _ebcdic(octet: int) -> str:
    return chr(octet - 0xF0 + 0x30) if 0xF0 <= octet <= 0xF9 else " " if octet == 0x40 else "\x7f"
