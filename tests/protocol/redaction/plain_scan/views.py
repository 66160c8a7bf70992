"""Other readings of a text, each with a way back to where it stands: folded characters, escapes, decoded bytes.

Folding keeps the length (full-width digits, other scripts' digits, odd spaces and dashes), so it needs no map. A `View`
is shorter than its source and remembers for each character which stretch of the source it came from.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protocol.redaction.findings import Finding

# %36, \u0036, \x36, &#54;, a form's plus between digits, and what is invisible: UTF-16's zero bytes, zero-width
# characters, soft hyphens.
_ESCAPE = re.compile(
    r"%([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})|&#x([0-9A-Fa-f]{1,6});|&#([0-9]{1,7});"
    r"|(?<=[0-9])\+(?=[0-9])|[\x00\u00ad\u200b-\u200f\u2060\ufeff]",
)
_MARKS = ("%", "\\", "&", "+", "\x00")  # without any of them an ASCII text has no escape
_DECIMAL_GROUP = 5
_FOLD_CACHE = 4096
_MAX_CODE_POINT = 0x10FFFF


@dataclass(frozen=True, slots=True)
class View:
    text: str
    starts: tuple[int, ...]  # of each character of `text` in the source
    ends: tuple[int, ...]

    def back(self, findings: Iterable[Finding]) -> list[Finding]:
        return [
            found._replace(start=self.starts[found.start], end=self.ends[found.end - 1])
            for found in findings
            if found.end > found.start
        ]


def fold(text: str) -> str:
    """The same length, with every digit, space, dash and compatibility form as its ASCII look-alike."""
    if text.isascii():
        return text
    return "".join(char if char < "\x80" else _fold_char(char) for char in text)


def without_escapes(text: str) -> View | None:
    """The text with escapes resolved and invisible characters left out; None when there are none."""
    is_plain = text.isascii() and not any(mark in text for mark in _MARKS)
    if is_plain or _ESCAPE.search(text) is None:
        return None
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for match in _ESCAPE.finditer(text):
        parts.append(text[position : match.start()])
        starts.extend(range(position, match.start()))
        ends.extend(range(position + 1, match.start() + 1))
        char = _unescaped(match)
        parts.append(char)
        starts.extend([match.start()] * len(char))
        ends.extend([match.end()] * len(char))
        position = match.end()
    parts.append(text[position:])
    starts.extend(range(position, len(text)))
    ends.extend(range(position + 1, len(text) + 1))
    return View(fold("".join(parts)), tuple(starts), tuple(ends))


def _unescaped(match: re.Match[str]) -> str:
    if match.lastindex is None:
        return " " if match[0] == "+" else ""
    number = int(match[match.lastindex], 10 if match.lastindex == _DECIMAL_GROUP else 16)
    return chr(number) if 0 < number <= _MAX_CODE_POINT else ""


@lru_cache(maxsize=_FOLD_CACHE)
def _fold_char(char: str) -> str:
    digit = unicodedata.digit(char, None)
    if digit is not None:
        return str(digit)
    category = unicodedata.category(char)
    if category == "Pd":
        return "-"
    if category == "Zs":
        return " "
    compatible = unicodedata.normalize("NFKC", char)
    return compatible if len(compatible) == 1 else char
