"""By what a device is found: its numbers and names as one text, and telephone numbers as people write them.

Invariant: the text holds nothing that is masked for somebody (`fleet_server.sites.shown`). A part of it finds, so who
may not see a number could guess it digit by digit. Telephone numbers and names of people are found whole, by those who
may see them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fleet_server.devices.models import Device, Site

MAX_SEARCH_CHARS = 2000
_NOT_A_DIGIT = re.compile(r"[^0-9+]")
_LIKE_A_PHONE = re.compile(r"[0-9+ ().\-/]{5,40}\Z")


def search_text(words: Iterable[str | None]) -> str:
    """``words``: numbers and labels of the device, number and names of its site; no number or name of a person."""
    return "\n".join(dict.fromkeys(word.lower() for word in words if word))[:MAX_SEARCH_CHARS]


def search_text_of(device: Device, site: Site) -> str:
    return search_text(
        (
            device.serial_number,
            device.terminal_id,
            site.merchant_id,
            site.merchant_name_zh,
            site.merchant_name_en,
            site.name_zh,
            site.name_en,
            device.label_zh,
            device.label_en,
            device.id,
            device.model,
        )
    )


def phone_digits(text: str) -> str:
    """Its digits, when it could be a telephone number."""
    digits = _NOT_A_DIGIT.sub("", text)
    return digits if len(digits) >= 5 else ""


def looks_like_a_phone(text: str) -> bool:
    return _LIKE_A_PHONE.match(text.strip()) is not None


def phone_forms(digits: str) -> list[str]:
    """A caller's number comes with or without the country's prefix and the trunk's nought; files hold either."""
    if not digits:
        return []
    bare = digits.removeprefix("+").removeprefix("00")
    bare = bare.removeprefix("86") if len(bare) > 11 else bare
    bare = bare.removeprefix("0")
    return [digits, bare, f"0{bare}", f"86{bare}", f"+86{bare}", f"0086{bare}"]
