"""Finds card data in hex as logs print it: `62200039…`, `62 20 00 39`, `0x62, 0x20`, also over several lines.

A run of hex is read as nibbles (`nibbles`) and as bytes of text: ASCII, UTF-16, EBCDIC.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from protocol.redaction.findings import RANK, Finding, HitKind
from protocol.redaction.nibbles import MIN_DECIMAL_DUMP, find_in_nibbles, is_swapped_alone
from protocol.redaction.sieve import Reading, hex_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    ScanText = Callable[[str], list[Finding]]

# In the next line it goes on only with a byte: an offset of four or eight digits begins a line of its own.
_SEPARATED = re.compile(
    r"(?<![0-9A-Fa-f])(?:0x|\\x)?[0-9A-Fa-f]{2}"
    r"(?:(?:[ :,\-]|, |,? ?0x|\\x|[ \t]{0,4}\r?\n[ \t]{0,16}(?![0-9A-Fa-f]{3}))[0-9A-Fa-f]{2}){6,}"
)
# As classes: from the separator after the first byte on. Between two bytes stand at most 22 characters.
_SEPARATED_CLASSES = re.compile(rb"\.00\.(?:\.*00\.){4,}\.*00")
_BEFORE_CLASSES = 26
# Not where the 0 is the second half of a byte and only an x follows.
_PREFIX = re.compile(rb"0x(?<![^0-9A-Fa-f][0-9A-Fa-f]0x)")
_LINE = re.compile(r"[^\n]{20,}")  # at least the seven bytes that make a dump
_NO_SEPARATORS = str.maketrans("", "", " :,-\t\r\n")
_BYTE = re.compile(r"(?:0x|\\x)?([0-9A-Fa-f]{2})")

_BETWEEN_DIGITS = b" -._/\x00"
_DIGIT = bytes(0x30 if octet in b"0123456789" else 0x78 for octet in range(256))
_TWELVE_DIGITS = b"0" * 12
_NO_EBCDIC = bytes(octet for octet in range(256) if not 0xF0 <= octet <= 0xF9 and octet != 0x5E)
_MIN_TEXT_NIBBLES = 24  # of twelve digits; what has fewer holds a letter of hex at least: ^ is 5E
_EBCDIC = bytes(
    octet - 0xF0 + 0x30 if 0xF0 <= octet <= 0xF9 else {0x40: 0x20, 0: 0}.get(octet, 0x7F) for octet in range(256)
)


class _Dump:
    """A run of hex and, once something is found in it, where its bytes stand."""

    def __init__(self, text: str, start: int, end: int, *, is_contiguous: bool) -> None:
        nibbles = text[start:end]
        if not is_contiguous:
            # Most dumps have no prefix, and then a byte is what is left without the separators.
            nibbles = "".join(_BYTE.findall(nibbles)) if "x" in nibbles else nibbles.translate(_NO_SEPARATORS)
        self.nibbles = nibbles.upper()
        self.is_decimal = is_contiguous and nibbles.isdecimal()
        self._text, self._start, self._end = text, start, end
        # Characters from one byte to the next, where that is the same for all.
        length = len(nibbles)
        self._stride = 2 if is_contiguous else 3 if end - start == length // 2 * 3 - 1 else 0
        self._bytes_at: list[int] | None = None

    def finding(self, start: int, end: int, kind: HitKind, last_four: str = "") -> Finding:
        return Finding(self._place(start), self._place(end - 1) + 1, kind, last_four)

    def _place(self, nibble: int) -> int:
        if self._stride:
            return self._start + nibble // 2 * self._stride + nibble % 2
        if self._bytes_at is None:
            self._bytes_at = [byte.start(1) for byte in _BYTE.finditer(self._text, self._start, self._end)]
        return self._bytes_at[nibble // 2] + nibble % 2


def find_in_hex(reading: Reading, scan_text: ScanText) -> list[Finding]:
    found: list[Finding] = []
    for dump in _dumps(reading):
        found.extend(dump.finding(*one) for one in find_in_nibbles(dump.nibbles, is_dump=not dump.is_decimal))
        if len(dump.nibbles) >= _MIN_TEXT_NIBBLES or not dump.is_decimal:
            found.extend(_in_bytes(dump, scan_text))
    return found


def first_in_packed(nibbles: str, scan_text: ScanText) -> tuple[HitKind, str] | None:
    """Of bytes that are no text, as nibbles in upper case: what is found first of what must go most."""
    dump = _Dump(nibbles, 0, len(nibbles), is_contiguous=True)
    found = [dump.finding(*one) for one in find_in_nibbles(nibbles, is_dump=True)]
    found.extend(_in_bytes(dump, scan_text))
    if not found:
        return None
    first = min(found, key=lambda one: (RANK[one.kind], one.start, one.end))
    return first.kind, first.last_four


def _dumps(reading: Reading) -> Iterator[_Dump]:
    text = reading.text
    for start, end in reading.hex_runs:
        run = text[start:end]
        if len(run) >= MIN_DECIMAL_DUMP or not run.isdecimal() or is_swapped_alone(run):
            yield _Dump(text, start, end, is_contiguous=True)
    for start, end in dump_spans(reading):
        yield _Dump(text, start, end, is_contiguous=False)
        if "\n" in text[start:end]:
            # The next line may be one that merely begins with two digits, so each counts by itself too.
            for line in _LINE.finditer(text, start, end):
                yield _Dump(text, line.start(), line.end(), is_contiguous=False)


def dump_spans(reading: Reading) -> Iterator[tuple[int, int]]:
    """Where bytes written apart begin and end."""
    classes = reading.hexes
    if b"0x" in reading.octets or b"\\x" in reading.octets:
        classes = hex_classes(_PREFIX.sub(b"  ", reading.octets.replace(b"\\x", b"  ")))
    end = 0
    for place in _SEPARATED_CLASSES.finditer(classes):
        for match in _SEPARATED.finditer(reading.text, max(end, place.start() - _BEFORE_CLASSES), place.end() + 1):
            end = match.end()
            yield match.span()


def _in_bytes(dump: _Dump, scan_text: ScanText) -> Iterator[Finding]:
    """The bytes read as text at both alignments: ASCII, UTF-16 without its zero bytes, EBCDIC digits."""
    nibbles = dump.nibbles
    for shift in (0, 1):
        octets = bytes.fromhex(nibbles[shift : len(nibbles) - (len(nibbles) - shift) % 2])
        for found, places in _in_octets(octets, scan_text):
            first, last = places[found.start], places[found.end - 1]
            yield dump.finding(shift + 2 * first, shift + 2 * last + 2, found.kind, found.last_four)


def _in_octets(octets: bytes, scan_text: ScanText) -> Iterator[tuple[Finding, Sequence[int]]]:
    """What is found, with the place of each character of what was read."""
    readings = (octets, octets.translate(_EBCDIC)) if len(octets.translate(None, _NO_EBCDIC)) >= 12 else (octets,)
    for coded in readings:
        # A track 1, or the digits of a number with whatever may stand between two of them.
        if b"^" not in coded and _TWELVE_DIGITS not in coded.translate(_DIGIT, _BETWEEN_DIGITS):
            continue
        found = scan_text(coded.replace(b"\x00", b"").decode("latin-1"))
        if found:
            places = [place for place, octet in enumerate(coded) if octet]
            yield from ((one, places) for one in found)
