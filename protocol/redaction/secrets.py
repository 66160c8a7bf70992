"""Finds what must be dropped whole in text: tracks, PIN and PIN block, CVV, keys, payment codes, identity numbers.

The text is already folded to ASCII. Patterns are bounded, so that hostile text costs no more than its length.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from protocol.redaction.card_numbers import MIN_DIGITS
from protocol.redaction.findings import Finding, HitKind
from protocol.redaction.sieve import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

# ISO/IEC 7813 tracks 1 and 2 and ISO 4909 track 3; China also sends an empty expiry. D as separator is for hex dumps.
_TRACK_1_NUMBER = re.compile(r"%?[Bb][0-9 ]{12,23}\Z")
_TRACK_1_NUMBER_ENDS = frozenset({b" ", *(b"%d" % digit for digit in range(10))})
_TRACK_1 = re.compile(r"%?[Bb][0-9 ]{12,23}\^[^^\r\n]{0,30}\^[^?\r\n\"]{0,80}\??")
_TRACK_2 = re.compile(r";?[0-9]{12,21}=[0-9]{7,40}[0-9=]{0,80}\??|;[0-9]{12,21}=[0-9=]{0,104}\?")

_BETWEEN = r"[\"'\]]?[\s=:：]{1,4}[\"'\[]?(?:0x)?"
# Behind a bracket on the same line only: what stands in a PIN's place, at a line's end, is no name for the next line.
_ASSIGNED = r"(?:[\"']?\s{0,3}[=:：]\s{0,3}|\][ \t]{0,3}[=:：][ \t]{0,3})[\"'\[]?"
_HEX_8_BYTES = r"(?:[0-9A-F]{16}|(?:[0-9A-F]{2}[ :]){7}[0-9A-F]{2})(?![0-9A-F])"
_PIN_BLOCK = re.compile(
    r"(?:(?<![0-9A-Z])(?:F|DE|FIELD|BIT)[ _.\-]?0?52|PIN[ _\-]?(?:BLOCK|BLK|DATA)|密码块)"
    rf"{_BETWEEN}({_HEX_8_BYTES})",
    re.IGNORECASE,
)
_PIN = re.compile(
    rf"(?:(?<![A-Z])(?:C|E|USER_?|CARD_?)?PIN|密码){_ASSIGNED}([0-9]{{4,12}})(?![0-9])",
    re.IGNORECASE,
)
_CVV = re.compile(
    r"(?:(?<![A-Z])(?:CVV|CVC|CAV|CVN|CSC)[12]?|安全码|卡校验码)"
    r"(?:[\"']?[\s=:：]{1,4}|\][ \t=:：]{1,4})[\"']?([0-9]{3,4})(?![0-9])",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"(?<![0-9A-Z])(?:(?:F|DE|FIELD|BIT)[ _.\-]?0?(?:53|62|64)|TMK|TPK|TAK|TDK|PIK|MAK|ZMK|KEK|BDK|IPEK)"
    rf"{_BETWEEN}([0-9A-F]{{16,96}})(?![0-9A-F])",
    re.IGNORECASE,
)

# Where the patterns above may have something to match: on lower case, with "?" for what is not ASCII.
_PIN_NAME = re.compile(rb"pin[\"'\]]?[\s\x1c-\x1f?]{0,3}[=:?][\s\x1c-\x1f?]{0,3}[\"'\[]?[0-9]{4}")
_CVV_NAME = re.compile(rb"c(?:v[vcn]|av|sc)[12]?[\"'\]]?[\s\x1c-\x1f=:?]{1,4}[\"']?[0-9]{3}")
_EIGHT_BYTES = b".".join([b"00"] * 8)
# Ends of field numbers, block, data and the keys.
_NAME_BEFORE = re.compile(rb"\?|[234ka][ \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f=:\"'\[\]]+(?:0x)?\Z")
_PAIRS = re.compile(rb"(?:00\.)+")
_FIELD_52 = re.compile(rb"[fedt][ _.\-]?0?52[ :\t\r\n]")
_LIKE_I = "ıİ"
_PIN_WORDS = ("密码",)
_CVV_WORDS = ("安全码", "卡校验码")
_BEFORE_NAME = 6  # "card_", and what must not stand before it
_MAX_NAMED_VALUE = 48
_MAX_BETWEEN = 10
_MAX_NAME = 24  # with what stands between it and its value
_MAX_FIELD_WORD = 4
_PIN_BLOCK_BYTES = 8
_MAX_KEY_NIBBLES = 96

_MAX_TRACK_DIGITS = 21
_MAX_TRACK_1_NUMBER = 25
_PAYMENT_CODE_DIGITS = 18
_ID_DIGITS = frozenset({17, 18})  # the check digit may be an X
# A payment code is good for a minute and for one payment: 18 digits, WeChat 10 to 15, Alipay 25 to 30.
_PAYMENT_CODE = re.compile(r"(?<![0-9])(?:1[0-5]|2[5-9]|30)[0-9]{16}(?![0-9])")
_ID_CARD = re.compile(
    r"(?<![0-9])[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])[0-9]{3}[0-9Xx](?![0-9])"
)
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643
_ID_CHECK = "10X98765432"


def find_secrets(reading: Reading) -> list[Finding]:
    found = list(_by_long_numbers(reading)) if reading.numbers else []
    if b"^" in reading.octets:
        found.extend(_tracks_1(reading))
    text, names = reading.text, _names(reading)
    if b"pin" in names or not text.isascii():
        found.extend(_named_digits(text, _PIN, HitKind.PIN, _named(text, _PIN_NAME.finditer(names), _PIN_WORDS)))
    if _CVV_NAME.search(names) is not None or not text.isascii():
        found.extend(_named_digits(text, _CVV, HitKind.CVV, _named(text, _CVV_NAME.finditer(names), _CVV_WORDS)))
    found.extend(_named_hex(reading, names))
    return found


def _names(reading: Reading) -> bytes:
    """In lower case, as patterns that ignore case read it: they take i for its Turkish kin too."""
    text = reading.text
    if text.isascii() or not any(char in text for char in _LIKE_I):
        return reading.octets.lower()
    for char in _LIKE_I:
        text = text.replace(char, "i")
    return text.encode("ascii", "replace").lower()


def _by_long_numbers(reading: Reading) -> Iterator[Finding]:
    text = reading.text
    track_end = 0
    for start, end in reading.numbers:
        if text[end : end + 1] == "=" and end - track_end >= MIN_DIGITS:
            track = _track_2(text, max(start, track_end, end - _MAX_TRACK_DIGITS), track_end)
            if track is not None:
                track_end = track.end()
                yield Finding(*track.span(), HitKind.TRACK)
        if end - start == _PAYMENT_CODE_DIGITS and _PAYMENT_CODE.match(text, start) is not None:
            yield Finding(start, end, HitKind.PAYMENT_CODE)
        if end - start in _ID_DIGITS:
            number = _ID_CARD.match(text, start)
            if number is not None and _is_id_card(number[0]):
                yield Finding(*number.span(), HitKind.ID_CARD)


def _track_2(text: str, start: int, earliest: int) -> re.Match[str] | None:
    has_sentinel = start > earliest and text[start - 1] == ";"
    return _TRACK_2.match(text, start - has_sentinel)


def _tracks_1(reading: Reading) -> Iterator[Finding]:
    end = 0
    at = reading.octets.find(b"^")
    while at >= 0:
        may_be_number = reading.octets[at - 1 : at] in _TRACK_1_NUMBER_ENDS
        number = _TRACK_1_NUMBER.search(reading.text, max(end, at - _MAX_TRACK_1_NUMBER), at) if may_be_number else None
        match = _TRACK_1.match(reading.text, number.start()) if number is not None else None
        if match is not None:
            end = match.end()
            yield Finding(*match.span(), HitKind.TRACK)
        at = reading.octets.find(b"^", max(at + 1, end))


def _named(text: str, names: Iterator[re.Match[bytes]], words: tuple[str, ...]) -> Iterator[int]:
    """Where such a name stands with something after it that may be its value."""
    yield from (name.start() for name in names)
    if text.isascii():
        return
    for word in words:
        at = text.find(word)
        while at >= 0:
            yield at
            at = text.find(word, at + 1)


def _named_digits(text: str, pattern: re.Pattern[str], kind: HitKind, names: Iterator[int]) -> Iterator[Finding]:
    for at in names:
        match = pattern.search(text, max(0, at - _BEFORE_NAME), at + _MAX_NAMED_VALUE)
        if match is not None and match.start() <= at:
            yield Finding(*match.span(1), kind)


def _named_hex(reading: Reading, names: bytes) -> Iterator[Finding]:
    for start, end in reading.hex_runs:
        if end - start > _MAX_KEY_NIBBLES or not _may_be_named(names, start):
            continue
        yield from _hex_of(reading.text, _KEY, HitKind.KEY, start, end)
        if end - start == 2 * _PIN_BLOCK_BYTES:
            yield from _hex_of(reading.text, _PIN_BLOCK, HitKind.PIN, start, end)
    for start in _eight_bytes(reading.hexes, names):
        if _may_be_named(names, start):
            yield from _hex_of(reading.text, _PIN_BLOCK, HitKind.PIN, start, start + len(_EIGHT_BYTES))


def _hex_of(text: str, pattern: re.Pattern[str], kind: HitKind, start: int, end: int) -> Iterator[Finding]:
    match = pattern.search(text, max(0, start - _MAX_NAME), end + 1)  # one more: no hex may follow
    if match is not None:
        yield Finding(*match.span(1), kind)


def _eight_bytes(hexes: bytes, names: bytes) -> Iterator[int]:
    """Where bytes written apart begin that a name may stand before."""
    at = hexes.find(_EIGHT_BYTES)
    while at >= 0:
        yield at
        pairs = _PAIRS.match(hexes, at)
        end = pairs.end() if pairs is not None else at + len(_EIGHT_BYTES)
        # Inside a dump the name can only be a field's number that looks like a byte itself.
        for field in _FIELD_52.finditer(names, max(0, at - _MAX_FIELD_WORD), end):
            yield field.end()
        at = hexes.find(_EIGHT_BYTES, end)


def _may_be_named(names: bytes, start: int) -> bool:
    return _NAME_BEFORE.search(names, max(0, start - _MAX_BETWEEN), start) is not None


def _is_id_card(number: str) -> bool:
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _ID_WEIGHTS, strict=True))
    return _ID_CHECK[total % 11] == number[17].upper()
