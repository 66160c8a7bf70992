"""What may be written of a site, checked field by field, whichever door it came by. An answer names the field and what
was expected, never what came.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping
from functools import cache
from typing import Any

from fleet_server.kit.free_text import EXPECTED_NONE, holds_card_data
from fleet_server.sites.errors import SiteInvalid

CONTACT = ("contact_name", "phone", "address")
NEEDED = ("merchant_id", "merchant_name_zh", "merchant_name_en", "name_zh", "name_en", "timezone")
LONGEST: Mapping[str, int] = {
    "merchant_id": 32,
    "merchant_name_zh": 120,
    "merchant_name_en": 120,
    "name_zh": 120,
    "name_en": 120,
    "city_zh": 80,
    "city_en": 80,
    "timezone": 64,
    "contact_name": 80,
    "phone": 32,
    "address": 240,
}
_PHONE = re.compile(r"[0-9+ ().\-/;,]*\Z")
# Of acquirers; some of them would pass for card numbers of that length.
_MERCHANT_ID = re.compile(r"[0-9]{15}\Z")
# What is shown in place of something is never taken for it.
_MASK = "**"


def checked(given: Mapping[str, str], place: str = "") -> dict[str, Any]:
    """Raises ``SiteInvalid``. Only fields of `LONGEST` are asked for."""
    values = {name: value.strip() for name, value in given.items()}
    for name, value in values.items():
        _check(place + name, name, value)
    return values


def _check(shown: str, name: str, value: str) -> None:
    longest = LONGEST[name]
    if len(value) > longest or not value.isprintable():
        raise SiteInvalid(f"{shown}: expected at most {longest} printable characters, came {len(value)}")
    if name in NEEDED and not value:
        raise SiteInvalid(f"{shown}: expected 1 to {longest} printable characters")
    if not (name == "merchant_id" and _MERCHANT_ID.match(value)) and holds_card_data(value):
        raise SiteInvalid(f"{shown}: {EXPECTED_NONE}")
    if name == "timezone" and value not in _zones():
        raise SiteInvalid(f"{shown}: expected a name such as Asia/Shanghai")
    if name == "phone" and _PHONE.match(value) is None:
        raise SiteInvalid(f"{shown}: expected digits, and + - ( ) / . between them")
    if name in CONTACT and _MASK in value:
        raise SiteInvalid(f"{shown}: expected it in full, came it as it is shown to those who may not see it")


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
