"""Is this string of ASCII digits a card number? Issuer prefix with a length that issuer uses, and the Luhn check digit.

Prefixes and lengths are from public IIN lists; ISO/IEC 7812-1 allows 12 to 19 digits. ICCIDs (89…) and IMEIs are
Luhn-valid by construction and match no prefix with their length.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MIN_DIGITS = 12
MAX_DIGITS = 19
PREFIX_DIGITS = 6

SMALLEST_CARD_NUMBER = 10 ** (MIN_DIGITS - 1)
_EXACT_FLOAT = 2**53
_TO_19 = frozenset(range(16, 20))
TABLE_DIGITS = 4
_ANY_LENGTH = ("62", "81")  # UnionPay uses 16 to 19
_SHORT = ("30", "34", "36", "37", "38", "39")  # Diners Club and American Express
_SHORT_LENGTHS = frozenset({14, 15, 16})
_USUAL_LENGTHS = frozenset({16, 19})
_ASCII_ZERO = ord("0")
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")

# Scheme rows: inclusive prefix ranges of equal width, and the lengths in use.
_SCHEMES: tuple[tuple[tuple[str, ...], frozenset[int]], ...] = (
    (("62", "81"), _TO_19),  # UnionPay, also co-branded
    (("955880", "95599", "601382", "603367", "690755", "966666", "940056", "6013", "9400", "9111"), _TO_19),  # China,
    (("900000", "685800", "602907", "603602", "694301", "984301", "998801-998802"), _TO_19),  # before the 62 programme
    (("9",), frozenset({19})),  # the list before 62 is not complete
    (("4",), frozenset({13, 16, 19})),  # Visa
    (("51-55", "2221-2720"), frozenset({16})),  # Mastercard
    (("34", "37"), frozenset({15})),  # American Express
    (("6011", "644-649", "65"), _TO_19),  # Discover
    (("300-305", "3095", "36", "38", "39"), frozenset(range(14, 20))),  # Diners Club
    (("3528-3589",), _TO_19),  # JCB
    (("50", "56-69"), frozenset(range(12, 20))),  # Maestro
    (("2200-2204",), _TO_19),  # Mir
    (("60", "65", "81", "82", "508"), frozenset({16})),  # RuPay
    (("9792",), frozenset({16})),  # Troy
)


def is_card_number(digits: str) -> bool:
    return has_issuer(digits) and passes_luhn(digits)


def is_card_value(value: float) -> bool:
    """Whether a measured number is written as a card number is."""
    if abs(value) < SMALLEST_CARD_NUMBER:
        return False
    if isinstance(value, int):
        return is_card_number(str(abs(value)))
    digits = f"{abs(value):.0f}"
    # The check digit of longer ones is rounded away; nearly all others are still there.
    return has_issuer(digits) if abs(value) > _EXACT_FLOAT else is_card_number(digits)


def has_issuer(digits: str) -> bool:
    """Whether a scheme issues numbers of this length under this prefix."""
    return len(digits) in issuer_lengths(digits[:PREFIX_DIGITS])


def issuer_lengths(prefix: str) -> frozenset[int]:
    """The lengths of numbers that begin with `prefix` (its first `PREFIX_DIGITS` digits)."""
    lengths = issuer_table()[int(prefix[:TABLE_DIGITS])] if len(prefix) >= TABLE_DIGITS else None
    return _issuer_lengths(prefix) if lengths is None else lengths


def common_lengths(prefix: str) -> frozenset[int]:
    """As `issuer_lengths`, only the frequent ones: for places where digits of many meanings stand side by side."""
    lengths = common_table()[int(prefix[:TABLE_DIGITS])] if len(prefix) >= TABLE_DIGITS else None
    return _common_lengths(prefix) if lengths is None else lengths


@cache
def issuer_table() -> list[frozenset[int] | None]:
    """By the first four digits; None where more are needed. Dense texts ask for every prefix there is."""
    return [
        None if prefix in _LONGER_PREFIXES else _issuer_lengths(prefix)
        for prefix in (f"{number:0{TABLE_DIGITS}}" for number in range(10**TABLE_DIGITS))
    ]


@cache
def common_table() -> list[frozenset[int] | None]:
    return [
        None if lengths is None else _common(f"{number:0{TABLE_DIGITS}}", lengths)
        for number, lengths in enumerate(issuer_table())
    ]


def length_bits() -> bytes:
    """For the number that two digits make: the lengths of all numbers that begin with them, `MIN_DIGITS` as bit 0."""
    bits = bytearray(256)
    for prefix, lengths in _LENGTHS.items():
        for two in {f"{prefix}{digit}"[:2] for digit in range(10)}:
            bits[int(two)] |= sum(1 << length - MIN_DIGITS for length in lengths)
    return bytes(bits)


def _issuer_lengths(prefix: str) -> frozenset[int]:
    parts = [_LENGTHS[prefix[:width]] for width in range(1, PREFIX_DIGITS + 1) if prefix[:width] in _LENGTHS]
    return parts[0] if len(parts) == 1 else frozenset().union(*parts)


def _common_lengths(prefix: str) -> frozenset[int]:
    return _common(prefix, _issuer_lengths(prefix))


def _common(prefix: str, lengths: frozenset[int]) -> frozenset[int]:
    if prefix.startswith(_ANY_LENGTH):
        return lengths
    return lengths & (_SHORT_LENGTHS if prefix.startswith(_SHORT) else _USUAL_LENGTHS)


def passes_luhn(digits: str) -> bool:
    octets = digits.encode()
    total = sum(octets[-1::-2]) + sum(octets[-2::-2].translate(_DOUBLED))
    return (total - _ASCII_ZERO * len(octets)) % 10 == 0


def _prefixes(text: str) -> Iterator[str]:
    first, _, last = text.partition("-")
    for number in range(int(first), int(last or first) + 1):
        yield str(number)


def _lengths_by_prefix() -> Mapping[str, frozenset[int]]:
    lengths: dict[str, frozenset[int]] = {}
    for ranges, in_use in _SCHEMES:
        for prefix in (prefix for text in ranges for prefix in _prefixes(text)):
            lengths[prefix] = lengths.get(prefix, frozenset()) | in_use
    return lengths


_LENGTHS = _lengths_by_prefix()
_LONGER_PREFIXES = frozenset(prefix[:TABLE_DIGITS] for prefix in _LENGTHS if len(prefix) > TABLE_DIGITS)
