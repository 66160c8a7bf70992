"""Where digits may be a card number, as far as arithmetic tells: all places of a text at once.

The digits of a text, without what stands between them, are one sequence; a number is a window in it that begins where a
group of digits begins, ends where one ends, has a length in use with its first two digits, and passes Luhn. Each digit
is a byte of one large number: shifted by eight bits and added, every digit meets its neighbour in one step, so that a
sum over each window of a length takes a few steps, whatever the digits are. What is answered is a superset: a window
that is not named is no card number.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from protocol.redaction.card_numbers import MAX_DIGITS, MIN_DIGITS, PREFIX_DIGITS, issuer_lengths, length_bits

if TYPE_CHECKING:
    from collections.abc import Iterator

# A code is one byte a digit: its value, where a group begins and ends, and where one begins that goes on from nothing.
_DIGIT, _BEGINS, _ENDS, _APART = 0x80, 0x10, 0x20, 0x40
_VALUE = 0x0F
_FLAG_BITS = {_BEGINS: 4, _ENDS: 5, _APART: 6}

_LENGTHS = range(MIN_DIGITS, MAX_DIGITS + 1)
_BLOCK = 1 << 13  # digits in one go: numbers of this size stay in the processor's cache
_OVERLAP = 32
_STRETCH = 1 << 10  # characters of which the places of digits are worked out together
_BIT_0 = int.from_bytes(b"\x01" * (_BLOCK + _OVERLAP), "little")
_SOME = re.compile(rb"[^\x00]")


def _by_code(values: bytes) -> bytes:
    """A table that answers by the digit of a code."""
    return bytes(values[code & _VALUE] if code & _VALUE < len(values) else 0 for code in range(256))


def _by_octet(octets: bytes, value: int) -> bytes:
    return bytes(value * (octet in octets) for octet in range(256))


_PLAIN = _by_code(bytes(range(10)))
_DOUBLED = _by_code(bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))
_IS_END = bytes(code >> _FLAG_BITS[_ENDS] & 1 for code in range(256))
_IS_APART = bytes(code >> _FLAG_BITS[_APART] & 1 for code in range(256))
_ALL_BEGINS = bytes(0xFF * (code >> _FLAG_BITS[_BEGINS] & 1) for code in range(256))
_IS_TENS = bytes(total % 10 == 0 for total in range(256))
_ISSUED = length_bits()

_LENGTHS_OF = [tuple(length for bit, length in enumerate(_LENGTHS) if mask >> bit & 1) for mask in range(256)]

_CODE = bytes(_DIGIT | octet & _VALUE if octet in b"0123456789" else 0 for octet in range(256))
_IS_DIGIT = _by_octet(b"0123456789", 1)
_NO_DIGITS = bytes(octet for octet in range(256) if octet not in b"0123456789")
_IS_SEPARATOR = _by_octet(b" -._/", 1)
_ALL_IN_GAP = _by_octet(b" \t\\+\r\n>", 0xFF)


class Window(NamedTuple):
    """`length` digits from `start` to `end`, where they and what stands between them are."""

    start: int
    end: int
    length: int


def written_windows(octets: bytes, exempt: frozenset[int]) -> Iterator[Window]:
    """Of digits between which stands at most one separator, or what may stand around a line's end.

    Each has a length in use with its prefix. Numbers of lengths in `exempt` need not pass Luhn.
    """
    spread = _codes(octets)
    masks = _masks(spread.translate(None, b"\x00"), exempt)
    if _SOME.search(masks) is None:
        return
    places, digits = _Places(spread), octets.translate(None, _NO_DIGITS).decode()
    for start, length in _windows(masks):
        if length in issuer_lengths(digits[start : start + PREFIX_DIGITS]):
            yield Window(places[start], places[start + length - 1] + 1, length)


class _Places:
    """Where in the text each digit stands; worked out only for the stretches that are asked for."""

    def __init__(self, spread: bytes) -> None:
        self._spread = spread
        self._firsts = [0]  # of each stretch, the number of digits before it
        for start in range(0, len(spread), _STRETCH):
            piece = spread[start : start + _STRETCH]
            self._firsts.append(self._firsts[-1] + len(piece) - piece.count(0))
        self._known: dict[int, list[int]] = {}

    def __getitem__(self, digit: int) -> int:
        stretch = bisect_right(self._firsts, digit) - 1
        places = self._known.get(stretch)
        if places is None:
            start = stretch * _STRETCH
            piece = self._spread[start : start + _STRETCH]
            places = self._known[stretch] = list(compress(range(start, start + len(piece)), piece))
        return places[digit - self._firsts[stretch]]


def packed_windows(digits: str, into_byte: int) -> bytes:
    """For each of packed digits, those from it on: they begin and end on a byte's border, or where the digits do.

    `into_byte`: whether the first digit is the second half of a byte. What a byte of it means says `window_lengths`.
    """
    codes = bytearray(digits.encode().translate(_CODE))
    codes[into_byte::2] = codes[into_byte::2].translate(_WITH[_BEGINS])
    codes[1 - into_byte :: 2] = codes[1 - into_byte :: 2].translate(_WITH[_ENDS])
    codes[0] |= _BEGINS
    codes[-1] |= _ENDS
    return _masks(bytes(codes), frozenset()).ljust(len(codes), b"\x00")


def window_lengths(mask: int) -> tuple[int, ...]:
    return _LENGTHS_OF[mask]


def any_windows(digits: str, exempt: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Start and length of those anywhere in a run of digits."""
    return _windows(_masks(digits.encode().translate(_CODE).translate(_WITH[_BEGINS | _ENDS]), exempt))


_WITH = {flag: bytes(code | flag for code in range(256)) for flag in (_BEGINS, _ENDS, _BEGINS | _ENDS)}


def _windows(masks: bytes) -> Iterator[tuple[int, int]]:
    for some in _SOME.finditer(masks):
        start = some.start()
        for length in _LENGTHS_OF[masks[start]]:
            yield start, length


def _codes(octets: bytes) -> bytes:
    """One for each character; 0 for what is no digit."""
    size = len(octets)
    digits = int.from_bytes(octets.translate(_IS_DIGIT), "little")
    separators = int.from_bytes(octets.translate(_IS_SEPARATOR), "little")
    gaps = int.from_bytes(octets.translate(_ALL_IN_GAP), "little")
    after = digits << 8
    begins = digits ^ (digits & after)
    ends = digits ^ (digits & digits >> 8)
    behind_separator = (separators & after) << 8
    # One more than a run of all ones is nothing, and one in the place behind it: so a digit hands on over a gap.
    behind_gap = gaps + (gaps & after)
    apart = begins ^ (begins & (behind_separator | behind_gap))
    begins ^= _in_columns(begins, ends, behind_separator, separators & digits >> 8)
    codes = int.from_bytes(octets.translate(_CODE), "little")
    codes |= begins << _FLAG_BITS[_BEGINS] | ends << _FLAG_BITS[_ENDS] | apart << _FLAG_BITS[_APART]
    return codes.to_bytes(size, "little")


def _in_columns(begins: int, ends: int, behind_separator: int, before_digit: int) -> int:
    """Where groups of one or two digits begin between others of which the one before is no larger.

    No number begins there. `before_digit`: the separators of which one is behind each such group.
    """
    one, two = begins & ends, begins & ends >> 8
    one_behind = behind_separator & one << 16
    ones = one & one_behind & before_digit >> 8
    twos = two & (one_behind | behind_separator & two << 24) & before_digit >> 16
    return ones | twos


def _masks(codes: bytes, exempt: frozenset[int]) -> bytes:
    """For each digit, as bits, the lengths of windows from it on."""
    if len(codes) <= _BLOCK:
        return _in_block(codes, exempt)
    blocks = (
        _in_block(codes[start : start + _BLOCK + _OVERLAP], exempt)[:_BLOCK].ljust(_BLOCK, b"\x00")
        for start in range(0, len(codes), _BLOCK)
    )
    return b"".join(blocks)


def _in_block(codes: bytes, exempt: frozenset[int]) -> bytes:
    plain = int.from_bytes(codes.translate(_PLAIN), "little")
    pairs = (plain << 3) + (plain << 1) + (plain >> 8)
    begins = int.from_bytes(codes.translate(_ALL_BEGINS), "little")
    size = len(codes)
    issued = int.from_bytes(pairs.to_bytes(size + 1, "little").translate(_ISSUED), "little") & begins
    if not issued:
        return b""
    ends = int.from_bytes(codes.translate(_IS_END), "little")
    broken = _broken(int.from_bytes(codes.translate(_IS_APART), "little"))
    sums: dict[int, int] = {}
    found = 0
    for bit, length in enumerate(_LENGTHS):
        fits = issued >> bit & _BIT_0 & ends >> 8 * (length - 1)
        fits ^= fits & broken[length]
        if fits and length not in exempt:
            sums = sums or _sums(plain, int.from_bytes(codes.translate(_DOUBLED), "little"))
            fits &= int.from_bytes(sums[length].to_bytes(size, "little").translate(_IS_TENS), "little")
        found |= fits << bit
    return found.to_bytes(size + 1, "little") if found else b""


def _broken(apart: int) -> dict[int, int]:
    """By length: whether in the window behind its first digit something begins that goes on from nothing."""
    if not apart:
        return dict.fromkeys(_LENGTHS, 0)
    two = apart >> 8 | apart >> 16
    four = two | two >> 16
    eleven = four | four >> 32 | four >> 56
    broken = {MIN_DIGITS: eleven}
    for length in _LENGTHS[1:]:
        broken[length] = broken[length - 1] | apart >> 8 * (length - 1)
    return broken


def _sums(plain: int, doubled: int) -> dict[int, int]:
    """By length: Luhn's sum of the window, which is at most 171 and stays in its byte."""
    two = doubled + (plain >> 8)
    four = two + (two >> 16)
    eight = four + (four >> 32)
    sums = {12: eight + (four >> 64), 16: eight + (eight >> 64)}
    sums[14], sums[18] = two + (sums[12] >> 16), two + (sums[16] >> 16)
    for length in (12, 14, 16, 18):
        sums[length + 1] = plain + (sums[length] >> 8)
    return sums
