"""Named identifiers that may leave the terminal as they are although they look like card numbers.

Only for values the agent read itself from that device, never for what was copied out of free text: the caller vouches
for the origin, this module for the exact shape. Anything else under such a name is scrubbed like any text.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from protocol.redaction.card_numbers import passes_luhn
from protocol.redaction.scrubber import scrub

if TYPE_CHECKING:
    from collections.abc import Callable


class IdentifierField(Enum):
    IMEI = "imei"
    ICCID = "iccid"


_SHAPES = {
    IdentifierField.IMEI: re.compile(r"(?:01|35|86|99)[0-9]{13}"),
    IdentifierField.ICCID: re.compile(r"89[0-9]{17,18}"),
}
# Shapes wide enough for a card number to fit: there it must not be one.
_FURTHER: dict[IdentifierField, Callable[[str], bool]] = {IdentifierField.IMEI: passes_luhn}


def pass_identifier(field: IdentifierField, value: str) -> str:
    """The value itself if it has the exact shape of that identifier, else the value scrubbed."""
    fits = _SHAPES[field].fullmatch(value) is not None
    if fits and _FURTHER.get(field, _always)(value):
        return value
    return scrub(value).text


def _always(_value: str) -> bool:
    return True
