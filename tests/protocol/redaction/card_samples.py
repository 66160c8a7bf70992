"""Generated card numbers and the forms in which terminals and logs write them. No number here belongs to anybody."""

from __future__ import annotations

import base64
import gzip
import json
import random
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from protocol.redaction.card_numbers import passes_luhn

if TYPE_CHECKING:
    from collections.abc import Callable

# Issuer prefix and length; the rest is drawn and closed with the check digit.
SCHEMES = [
    ("62", 16), ("62", 17), ("62", 18), ("62", 19), ("81", 19), ("955880", 19), ("95599", 19), ("4", 13), ("4", 16),
    ("4", 19), ("51", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16), ("644", 19), ("36", 14),
    ("305", 14), ("3528", 16), ("5018", 16), ("6759", 19), ("2200", 16), ("2204", 19), ("508", 16), ("82", 16),
    ("9792", 16),
]  # fmt: skip


def closed_with_check_digit(body: str) -> str:
    return next(body + digit for digit in "0123456789" if passes_luhn(body + digit))


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    prefix, length = draw(st.sampled_from(SCHEMES))
    rest = draw(st.text("0123456789", min_size=length - 1 - len(prefix), max_size=length - 1 - len(prefix)))
    return closed_with_check_digit(prefix + rest)


def generated(count: int, seed: int) -> list[str]:
    """Numbers of every scheme in turn, the same for the same seed."""
    draw = random.Random(seed)
    made = []
    for place in range(count):
        prefix, length = SCHEMES[place % len(SCHEMES)]
        rest = "".join(draw.choice("0123456789") for _ in range(length - 1 - len(prefix)))
        made.append(closed_with_check_digit(prefix + rest))
    return made


def grouped(number: str, size: int, separator: str) -> str:
    return separator.join(number[at : at + size] for at in range(0, len(number), size))


def packed(number: str) -> str:
    return number if len(number) % 2 == 0 else number + "F"


def spaced(nibbles: str) -> str:
    return grouped(nibbles, 2, " ")


def swapped(nibbles: str) -> str:
    return "".join(nibbles[at + 1] + nibbles[at] for at in range(0, len(nibbles), 2))


def _base64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda number: number,
    "in a log line": lambda number: f"2026-03-02 10:11:12 I PosApp: card={number} amt=1200",
    "beside an underscore": lambda number: f"T2_{number}_end",
    "beside letters": lambda number: f"abc{number}def",
    "by spaces": lambda number: grouped(number, 4, " "),
    "by hyphens": lambda number: grouped(number, 4, "-"),
    "by dots": lambda number: grouped(number, 4, "."),
    "by no-break spaces": lambda number: grouped(number, 4, "\u00a0"),
    "each digit apart": " ".join,
    "full-width": lambda number: "".join(chr(0xFF10 + int(digit)) for digit in number),
    "arabic digits": lambda number: "".join(chr(0x0660 + int(digit)) for digit in number),
    "with a zero-width space": lambda number: f"{number[:5]}\u200b{number[5:]}",
    "hex of ascii": lambda number: number.encode().hex(),
    "hex of ascii in bytes": lambda number: number.encode().hex(" "),
    "hex of a line": lambda number: f"card={number} amt".encode().hex(),
    "hex of utf-16": lambda number: number.encode("utf-16le").hex(),
    "utf-16 read as bytes": lambda number: number.encode("utf-16le").decode("latin-1"),
    "ebcdic": lambda number: "".join(f"F{digit}" for digit in number),
    "packed in a frame": lambda number: f"RX: 02 {spaced(packed(number))} 03 7A",
    "packed as C array": lambda number: ", ".join(f"0x{pair}" for pair in spaced(packed(number)).split()),
    "packed over two lines": lambda number: (
        spaced(f"02{packed(number)}")[:15] + "\n" + spaced(f"02{packed(number)}")[15:]
    ),
    "nibbles swapped": lambda number: spaced(swapped(packed(number))),
    "base64": lambda number: _base64(f"PAN:{number}"),
    "base64 in a path": lambda number: f"/a/{_base64(f'PAN={number};')}",
    "base64 url-safe unpadded": lambda number: base64.urlsafe_b64encode(f"x{number}".encode()).decode().rstrip("="),
    "base64 of packed": lambda number: _base64(bytes.fromhex(packed(number))),
    "gzip in base64": lambda number: _base64(gzip.compress(f"log line card={number}\n".encode(), mtime=0)),
    "percent-encoded": lambda number: "?c=" + "".join(f"%{ord(digit):02X}" for digit in number),
    "by encoded spaces": lambda number: "?c=" + grouped(number, 4, "%20"),
    "by form spaces": lambda number: "c=" + grouped(number, 4, "+"),
    "json number": lambda number: json.dumps({"acct": int(number)}),
    "json escapes": lambda number: "".join(f"\\u{ord(digit):04x}" for digit in number),
    "xml entities": lambda number: "".join(f"&#{ord(digit)};" for digit in number),
    "over two lines": lambda number: f"card {number[:9]}\r\n    {number[9:]} end",
    "groups over two lines": lambda number: grouped(number[:8], 4, " ") + "\n" + grouped(number[8:], 4, " "),
    "tlv": lambda number: f"9F2608AABBCCDDEEFF00115A{len(packed(number)) // 2:02X}{packed(number)}5F3401019F3602001A",
    "track 2": lambda number: f"MSR ;{number}=2912201123456?",
    "track 2 in hex": lambda number: f"{number}D2912201123456{'F' if len(number) % 2 == 0 else ''}",
    "track 1": lambda number: f"%B{number}^ZHANG/SAN MR^2912201123456?",
    "track 3": lambda number: f";99{number}=1561560000000000000030000000000000?",
    "field 2": lambda number: (
        f"SEND 600003000060220000000002004020000000000000{len(number):02}{number}{'0' if len(number) % 2 else ''}000012"
    ),
}


def digits_of(text: str) -> str:
    return "".join(char for char in text if char.isdecimal() and char.isascii())
