"""Result codes and status bytes of ZVT as ids of the catalogue (PA00P015, chapters error messages and status codes)."""

from __future__ import annotations

READY, PLEASE_WAIT, CARD_INSERTED = 0x00, 0x9C, 0xDC
PRINTER_NOT_READY = 0xCC

# Bytes a status enquiry may end with.
STATUS_BYTES = frozenset(
    {0x00, 0x51, 0x62, 0x9C, 0xB1, 0xB2, 0xBF, 0xC0, 0xC2, 0xC4, 0xCC, 0xDC, 0xDF, 0xE0, 0xE1, 0xE2, 0xE3, 0xF6}
)
# States of ordinary work: a transaction, a card in the reader, maintenance under way, a closed shutter.
ORDINARY_STATUS_BYTES = frozenset({READY, PLEASE_WAIT, CARD_INSERTED, 0xE0, 0xE3})
# With these the terminal takes no payment until somebody or something helps it.
CANNOT_TRADE_STATUS_BYTES = frozenset({0x51, 0xB1, 0xB2, 0xC0, 0xC2, 0xDF, 0xE2, 0xF6})

# States of the terminal that no status byte has: only a function that needs them tells, and then they hold.
HELD_RESULTS = frozenset({0x6B, 0x85})
# What an initialisation (06 93), after a registration where that is missing, puts right.
MENDED_BY_INITIALISING = ("zvt.51", "zvt.62", "zvt.6B", "zvt.C4")

# 01..63 are two digits of the host's own; the catalogue has one entry for all of them.
_HOST_RESULTS = range(0x01, 0x64)
_HOST_CODE = "zvt.01-63"
_RESULTS = frozenset(
    {
        *range(0x64, 0x69), 0x6A, 0x6B, 0x6C, 0x6E, 0x6F, *range(0x71, 0x76), 0x77, 0x78, 0x79, *range(0x7A, 0x7F),
        0x83, 0x85, 0x89, 0x9A, 0x9B, 0x9C, 0xA0, 0xA1, 0xA3, 0xA5, 0xB1, 0xB2, 0xB4, 0xB5, 0xB7, 0xB8, 0xBF,
        *range(0xC0, 0xC7), 0xC8, 0xC9, 0xCC, 0xCD, *range(0xDC, 0xE5), 0xEB, 0xEC, 0xED, 0xF0, 0xF1, 0xF5, 0xF6,
        *range(0xFA, 0x100),
    }
)  # fmt: skip # a table, one line a row


def status_code(status: int) -> str | None:
    """Catalogue id of a status byte that is a fault; None for ordinary work and for bytes no list has."""
    return f"zvt.{status:02X}" if status in STATUS_BYTES - ORDINARY_STATUS_BYTES else None


def result_code(result: int) -> str | None:
    """Catalogue id of the result code of a refusal or an abort; None when no list has it."""
    if result in _HOST_RESULTS:
        return _HOST_CODE
    return f"zvt.{result:02X}" if result in _RESULTS else None
