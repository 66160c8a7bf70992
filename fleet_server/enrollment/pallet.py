"""A pallet as CSV: a line a terminal, with a heading. What is not in the file has a default or is asked of a person.

serial_number,model,terminal_class,site,label_zh,label_en
ES0000002,PAX A920,e_sign,01970000-…,收银台,Till
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_server.enrollment.errors import PalletInvalid
from fleet_server.kit.free_text import EXPECTED_NONE, holds_card_data
from protocol.catalogue.vocabulary import TerminalClass

MAX_LINES = 1000
_NEEDED = ("serial_number", "model", "terminal_class")
_MORE = ("site", "label_zh", "label_en")
# Serial numbers are left as they are: some would pass for card numbers.
_WORDS = frozenset({"model", "label_zh", "label_en"})
_LONGEST = {"serial_number": 64, "model": 80, "terminal_class": 16, "site": 64, "label_zh": 120, "label_en": 120}
_CLASSES = frozenset(one.value for one in TerminalClass)


@dataclass(frozen=True, slots=True)
class Wanted:
    """``site``: its id; empty: a person says where it stands when it asks."""

    serial_number: str
    model: str
    terminal_class: str
    site: str = ""
    label_zh: str = ""
    label_en: str = ""


def read_pallet(text: str) -> list[Wanted]:
    """Raises ``PalletInvalid``."""
    # Spreadsheets begin a file with a mark of the byte order.
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        names = reader.fieldnames or []
        if set(_NEEDED) - set(names) or set(names) - {*_NEEDED, *_MORE}:
            raise PalletInvalid(f"line 1: expected {', '.join(_NEEDED)} and maybe {', '.join(_MORE)}")
        lines = [_line(row, f"line {reader.line_num}") for row in reader]
    except csv.Error as error:
        raise PalletInvalid(f"line {reader.line_num}: expected CSV: {error}") from error
    if not 1 <= len(lines) <= MAX_LINES:
        raise PalletInvalid(f"expected 1 to {MAX_LINES} lines below the heading, came {len(lines)}")
    seen: set[str] = set()
    for number, one in enumerate(lines, start=2):
        if one.serial_number in seen:
            raise PalletInvalid(f"line {number}: expected each serial number once, came one of before again")
        seen.add(one.serial_number)
    return lines


def read_line(values: Mapping[str, str]) -> Wanted:
    """What a line would say. Raises ``PalletInvalid``."""
    return _line(values, "device")


def _line(row: Mapping[str, str | Any], place: str) -> Wanted:
    # The reader's own word for values beyond the heading, and for those that are missing.
    if None in row or None in row.values():
        raise PalletInvalid(f"{place}: expected as many values as the heading has")
    values = {str(name): (value or "").strip() for name, value in row.items()}
    for name, value in values.items():
        if len(value) > _LONGEST[name] or not value.isprintable() or (name in _NEEDED and not value):
            expected = f"1 to {_LONGEST[name]}" if name in _NEEDED else f"at most {_LONGEST[name]}"
            raise PalletInvalid(f"{place}: {name}: expected {expected} printable characters")
        if name in _WORDS and holds_card_data(value):
            raise PalletInvalid(f"{place}: {name}: {EXPECTED_NONE}")
    if values["terminal_class"] not in _CLASSES:
        raise PalletInvalid(f"{place}: terminal_class: expected one of {', '.join(sorted(_CLASSES))}")
    return Wanted(**values)
