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
    common_lengths,
    has_issuer,
    is_card_number,
    issuer_lengths,
    passes_luhn,
)
from protocol.redaction.digit_windows import packed_windows, window_lengths
from protocol.redaction.findings import HitKind
from protocol.redaction.iso8583 import sensitive_fields
from protocol.redaction.sieve import IN, digit_classes, runs
from protocol.redaction.tlv import sensitive_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # Start, end, kind and, for a number, its last four digits.
    Found = tuple[int, int, HitKind, str]
    LengthsOf = Callable[[str], frozenset[int]]  # in use with a prefix

# The separator first, so that a search needs to look only there.
_TRACK_2_SEPARATOR = re.compile(r"D(?<=[0-9]{12}D)(?=[0-9]{7})")
_TRACK_2_REST = re.compile(r"D[0-9]{7,24}F?")
_DIGITS_BEFORE = re.compile(r"[0-9]{12,21}\Z")
_MAX_TRACK_DIGITS = 21
_LUHN_EXEMPT_LENGTHS = frozenset({16, 19})
_LENGTH_PREFIXED = re.compile(r"1[2-9](?=[0-9]{12})")
_MIN_LENGTH_PREFIXED_RUN = 40  # longer than any order number, so that this is a message
_MIN_BCD_DIGITS = 13
_MIN_RUN = IN * MIN_DIGITS
MIN_DECIMAL_DUMP = 24  # a PIN in TLV with the tag that shows that it is TLV
_LONG_RUN = 32  # from here on arithmetic over all digits costs less than a look at each number
_MAX_WINDOW = MAX_DIGITS + 1  # with its padding
_DIGITS_PER_WINDOW = 4  # where more numbers may begin, it is worth to pass over those that overlap
_SOME = re.compile(rb"[^\x00]")
_ANY = bytes(octet != 0 for octet in range(256))
_FRAMING_NIBBLES = 8  # start, length, end and check bytes around a number that is alone in its frame
_MAX_ALONE = MAX_DIGITS + _FRAMING_NIBBLES // 2 + _FRAMING_NIBBLES
_SWAPPED_ALONE = frozenset({16, 18})  # digits of a bare run that may be a number with its nibbles swapped


def find_in_nibbles(nibbles: str, *, is_dump: bool) -> Iterator[Found]:
    """`nibbles` in upper case; `is_dump`: separated bytes or a hex letter, so certainly not a decimal number."""
    if is_dump or len(nibbles) >= MIN_DECIMAL_DUMP:
        yield from sensitive_values(nibbles)
        yield from sensitive_fields(nibbles)
    # Also with swapped nibbles: thirteen digits then hold six whole bytes of digits.
    if _MIN_RUN not in digit_classes(nibbles.encode()):
        return
    if "D" in nibbles:
        yield from _tracks(nibbles)
    if len(nibbles) >= _MIN_LENGTH_PREFIXED_RUN:
        yield from _length_prefixed(nibbles)
    if is_dump:
        yield from _bcd_numbers(nibbles)
        if len(nibbles) <= _MAX_ALONE or "F" in nibbles:
            yield from _bcd_numbers(_swapped(nibbles), only_alone=True)
    elif is_swapped_alone(nibbles) and is_card_number(other := _swapped(nibbles)):
        yield 0, len(nibbles), HitKind.PAN, other[-4:]


def is_swapped_alone(digits: str) -> bool:
    """Whether a bare run of digits may be a number with its nibbles swapped, by its length and beginning."""
    return len(digits) in _SWAPPED_ALONE and digits.startswith("26")


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
        lengths_of = issuer_lengths if is_number_alone or is_padded else common_lengths
        padded_at = stop if is_padded else 0
        if stop - begin <= _LONG_RUN:
            yield from _overlapping(nibbles, padded_at, _windows(nibbles, begin, stop, lengths_of))
            continue
        masks = packed_windows(nibbles[begin:stop], begin % 2)
        if (len(masks) - masks.count(0)) * _DIGITS_PER_WINDOW < len(masks):
            yield from _overlapping(nibbles, padded_at, _windows_in(masks, nibbles, begin, lengths_of))
        else:
            yield from _CrowdedRun(masks, nibbles, begin, lengths_of, padded_at).numbers()


def _overlapping(nibbles: str, padded_at: int, windows: Iterator[tuple[int, int]]) -> Iterator[Found]:
    """Of numbers that overlap: those that begin first, and all others as one stretch.

    No more is left of the others when what overlaps becomes one. A padding goes with the number that ends at
    `padded_at`.
    """
    first = rest = reach = 0
    last_four = ""
    for start, length in windows:
        end = start + length
        stop = end + (end == padded_at)
        if start >= reach or start == first:
            if rest and start >= reach:
                yield rest, reach, HitKind.PAN, last_four
                rest = 0
            first = start
            yield start, stop, HitKind.PAN, nibbles[end - 4 : end]
        elif not rest:
            rest, last_four = start, nibbles[end - 4 : end]
        reach = max(reach, stop)
    if rest:
        yield rest, reach, HitKind.PAN, last_four


def _windows(nibbles: str, begin: int, stop: int, lengths_of: LengthsOf) -> Iterator[tuple[int, int]]:
    """Start and length of the numbers in a run of digits: on a byte's border, or where the digits begin or end."""
    for start in (begin, *range(begin + 2 - begin % 2, stop - _MIN_BCD_DIGITS + 1, 2)):
        for length in lengths_of(nibbles[start : start + PREFIX_DIGITS]):
            end = start + length
            if end > stop or (end % 2 and end != stop) or length < _MIN_BCD_DIGITS:
                continue
            if passes_luhn(nibbles[start:end]):
                yield start, length


def _windows_in(masks: bytes, nibbles: str, begin: int, lengths_of: LengthsOf) -> Iterator[tuple[int, int]]:
    """The same for a long run, of which arithmetic named what may be one."""
    for mask in _SOME.finditer(masks):
        start = begin + mask.start()
        in_use = lengths_of(nibbles[start : start + PREFIX_DIGITS])
        for length in window_lengths(mask[0][0]):
            if length >= _MIN_BCD_DIGITS and length in in_use:
                yield start, length


class _CrowdedRun:
    """The same as `_overlapping` where much overlaps: most of it needs no look."""

    def __init__(self, masks: bytes, nibbles: str, begin: int, lengths_of: LengthsOf, padded_at: int) -> None:
        self._windows, self._nibbles, self._begin, self._lengths_of = masks, nibbles, begin, lengths_of
        self._padded_at = padded_at
        self._may_begin = masks.translate(_ANY)

    def numbers(self) -> Iterator[Found]:
        stop = self._begin + len(self._windows)
        start, ends = self._next(self._begin, stop)
        while ends:
            for end in ends:
                yield self._found(start, end, end)
            reach = max(map(self._with_padding, ends))
            rest, ends = self._next(start + 1, reach)
            if ends:
                first_end, reach = ends[0], self._reach(rest, reach)
                yield self._found(rest, first_end, reach)
            start, ends = self._next(reach, stop)

    def _found(self, start: int, end: int, reach: int) -> Found:
        return start, max(reach, self._with_padding(end)), HitKind.PAN, self._nibbles[end - 4 : end]

    def _with_padding(self, end: int) -> int:
        return end + (end == self._padded_at)

    def _next(self, start: int, limit: int) -> tuple[int, list[int]]:
        """Where the first one from `start` on begins, before `limit`, and where it may end; none when there is none."""
        begin = self._begin
        place = self._may_begin.find(1, start - begin, limit - begin)
        while place >= 0:
            ends = self._ends(begin + place)
            if ends:
                return begin + place, ends
            place = self._may_begin.find(1, place + 1, limit - begin)
        return limit, []

    def _reach(self, first: int, reach: int) -> int:
        """How far those go that begin from `first` on and overlap: what goes furthest begins last, or nearly."""
        begin = self._begin
        while True:
            furthest = reach
            place = self._may_begin.rfind(1, first - begin, reach - begin)
            while place >= 0 and begin + place + _MAX_WINDOW > furthest:
                furthest = max(furthest, *map(self._with_padding, self._ends(begin + place)), 0)
                place = self._may_begin.rfind(1, first - begin, place)
            if furthest == reach:
                return reach
            first, reach = reach, furthest

    def _ends(self, start: int) -> list[int]:
        in_use = self._lengths_of(self._nibbles[start : start + PREFIX_DIGITS])
        named = window_lengths(self._windows[start - self._begin])
        return [start + length for length in named if length >= _MIN_BCD_DIGITS and length in in_use]


def _swapped(nibbles: str) -> str:
    octets = nibbles.encode()
    even = len(octets) - len(octets) % 2
    swapped = bytearray(octets)
    swapped[0:even:2], swapped[1:even:2] = octets[1:even:2], octets[0:even:2]
    return swapped.decode()
