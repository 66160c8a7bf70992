"""Finds what must be dropped whole in text: tracks, PIN and PIN block, CVV, keys, payment codes, identity numbers.

The text is already folded to ASCII. Patterns are bounded, so that hostile text costs no more than its length.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from protocol.redaction.findings import Finding, HitKind

if TYPE_CHECKING:
    from collections.abc import Iterator

# ISO/IEC 7813 tracks 1 and 2 and ISO 4909 track 3; China also sends an empty expiry. D as separator is for hex dumps.
_TRACK_1 = re.compile(r"%?[Bb][0-9 ]{12,23}\^[^^\r\n]{0,30}\^[^?\r\n\"]{0,80}\??")
_TRACK_2 = re.compile(r";?[0-9]{12,21}=[0-9]{7,40}[0-9=]{0,80}\??|;[0-9]{12,21}=[0-9=]{0,104}\?")

_BETWEEN = r"[\"'\]]?[\s=:：]{1,4}[\"'\[]?(?:0x)?"
# Behind a bracket on the same line only: what stands in a PIN's place, at a line's end, is no name for the next line.
_ASSIGNED = r"(?:[\"']?\s{0,3}[=:：]\s{0,3}|\][ \t]{0,3}[=:：][ \t]{0,3})[\"'\[]?"
_HEX_8_BYTES = r"(?:[0-9A-F]{16}|(?:[0-9A-F]{2}[ :]){7}[0-9A-F]{2})(?![0-9A-F])"
_KEYED: tuple[tuple[HitKind, re.Pattern[str]], ...] = (
    (
        HitKind.PIN,
        re.compile(
            r"(?:(?<![0-9A-Z])(?:F|DE|FIELD|BIT)[ _.\-]?0?52|PIN[ _\-]?(?:BLOCK|BLK|DATA)|密码块)"
            rf"{_BETWEEN}({_HEX_8_BYTES})",
            re.IGNORECASE,
        ),
    ),
    (
        HitKind.PIN,
        re.compile(rf"(?:(?<![A-Z])(?:C|E|USER_?|CARD_?)?PIN|密码){_ASSIGNED}([0-9]{{4,12}})(?![0-9])", re.IGNORECASE),
    ),
    (
        HitKind.CVV,
        re.compile(
            r"(?:(?<![A-Z])(?:CVV|CVC|CAV|CVN|CSC)[12]?|安全码|卡校验码)"
            r"(?:[\"']?[\s=:：]{1,4}|\][ \t=:：]{1,4})[\"']?([0-9]{3,4})(?![0-9])",
            re.IGNORECASE,
        ),
    ),
    (
        HitKind.KEY,
        re.compile(
            r"(?<![0-9A-Z])(?:(?:F|DE|FIELD|BIT)[ _.\-]?0?(?:53|62|64)|TMK|TPK|TAK|TDK|PIK|MAK|ZMK|KEK|BDK|IPEK)"
            rf"{_BETWEEN}([0-9A-F]{{16,96}})(?![0-9A-F])",
            re.IGNORECASE,
        ),
    ),
)

_LONG_NUMBER = re.compile(r"[0-9]{17}")
# A payment code is good for a minute and for one payment: 18 digits, WeChat 10 to 15, Alipay 25 to 30.
_PAYMENT_CODE = re.compile(r"(?<![0-9])(?:1[0-5]|2[5-9]|30)[0-9]{16}(?![0-9])")
_ID_CARD = re.compile(
    r"(?<![0-9])[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])[0-9]{3}[0-9Xx](?![0-9])"
)
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643
_ID_CHECK = "10X98765432"


def find_secrets(text: str) -> list[Finding]:
    found: list[Finding] = []
    if "=" in text:
        found.extend(Finding(*match.span(), HitKind.TRACK) for match in _TRACK_2.finditer(text))
    if "^" in text:
        found.extend(Finding(*match.span(), HitKind.TRACK) for match in _TRACK_1.finditer(text))
    found.extend(_keyed_values(text))
    if _LONG_NUMBER.search(text) is None:
        return found
    found.extend(Finding(*match.span(), HitKind.PAYMENT_CODE) for match in _PAYMENT_CODE.finditer(text))
    found.extend(Finding(*match.span(), HitKind.ID_CARD) for match in _ID_CARD.finditer(text) if _is_id_card(match[0]))
    return found


def _keyed_values(text: str) -> Iterator[Finding]:
    for kind, pattern in _KEYED:
        yield from (Finding(*match.span(1), kind) for match in pattern.finditer(text))


def _is_id_card(number: str) -> bool:
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _ID_WEIGHTS, strict=True))
    return _ID_CHECK[total % 11] == number[17].upper()
