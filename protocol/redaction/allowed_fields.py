"""Named identifiers that may leave the terminal unmasked although they look like numbers: IMEI, ICCID, RRN and others.

Only for values the agent read itself from that device, never for what was copied out of free text: the caller vouches
for the origin, this module for the exact shape. Anything else under such a name is scrubbed like any text.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from protocol.redaction.card_numbers import is_card_number, passes_luhn
from protocol.redaction.scrubber import scrub

if TYPE_CHECKING:
    from collections.abc import Callable


class IdentifierField(Enum):
    IMEI = "imei"
    ICCID = "iccid"
    IMSI = "imsi"
    MEID = "meid"
    SERIAL = "serial"
    BATCH = "batch"
    TRACE = "trace"
    RRN = "rrn"
    ORDER = "order"
    MSGID = "msgid"
    TIMESTAMP = "timestamp"
    TERMINAL_NO = "terminal_no"
    MERCHANT_NO = "merchant_no"
    TUSN = "tusn"


_SHAPES = {
    IdentifierField.IMEI: re.compile(r"(?:01|35|86|99)[0-9]{13}"),
    IdentifierField.ICCID: re.compile(r"89[0-9]{17,18}"),
    IdentifierField.IMSI: re.compile(r"[2-7][0-9]{14}"),
    IdentifierField.MEID: re.compile(r"A[0-9A-F]{13}"),
    IdentifierField.SERIAL: re.compile(r"[A-Z0-9][A-Z0-9\-]{3,31}", re.IGNORECASE),
    IdentifierField.BATCH: re.compile(r"[0-9]{1,6}"),
    IdentifierField.TRACE: re.compile(r"[0-9]{1,6}"),
    IdentifierField.RRN: re.compile(r"[0-9A-Z]{12}"),
    IdentifierField.ORDER: re.compile(r"(?:20[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{2,24})"),
    IdentifierField.MSGID: re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    IdentifierField.TIMESTAMP: re.compile(
        r"20[0-9]{12}|1[6-9][0-9]{8}|1[6-9][0-9]{11}|1[6-9][0-9]{14}|1[6-9][0-9]{17}"
    ),
    IdentifierField.TERMINAL_NO: re.compile(r"[0-9A-Z]{8}"),
    IdentifierField.MERCHANT_NO: re.compile(r"[0-9]{15}"),
    IdentifierField.TUSN: re.compile(r"[0-9]{8}[0-9A-Z]{12}"),
}

# Shapes wide enough for a card number to fit: there it must not be one.
_FURTHER: dict[IdentifierField, Callable[[str], bool]] = {
    IdentifierField.IMEI: passes_luhn,
    IdentifierField.IMSI: lambda value: not is_card_number(value),
    IdentifierField.SERIAL: lambda value: not scrub(value).hits,
    IdentifierField.MERCHANT_NO: lambda value: not is_card_number(value),
}


def pass_identifier(field: IdentifierField, value: str) -> str:
    """The value itself if it has the exact shape of that identifier, else the value scrubbed."""
    fits = _SHAPES[field].fullmatch(value) is not None
    if fits and _FURTHER.get(field, _always)(value):
        return value
    return scrub(value).text


def _always(_value: str) -> bool:
    return True
