"""Text of others where a person or a program reads it line by line: on a terminal, in a log, in a cell of a table.

Whatever would move a cursor, begin a line, turn writing round or be invisible stands there as its escape, of the form
that JSON has for it: a document of JSON stays the same document. Letters, digits, signs and spaces of all scripts stay.
"""

from __future__ import annotations

import io
import re
from typing import Final, TextIO

# Categories of Unicode: control, format (bidi, zero width, tags), separators of lines and paragraphs; surrogates. A
# range each where they are dense. Held against `unicodedata` by a test.
_STEERING: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)
_BUT_LINES: Final = re.compile(f"(?![\n\t]){_STEERING.pattern}")
# What a spreadsheet may take for the beginning of a formula, also in the width that East Asian keyboards write.
_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def one_line(text: str) -> str:
    return _STEERING.sub(_escape, text)


def lines(text: str) -> str:
    """With its ends of lines and its tabs."""
    return _BUT_LINES.sub(_escape, text)


def cell(text: str) -> str:
    """For a table that a spreadsheet opens: what would be a formula gets an apostrophe (OWASP, CSV injection)."""
    plain = one_line(text)
    # A spreadsheet may pass over spaces before it looks.
    return f"'{plain}" if text.lstrip(" \u3000\u00a0").startswith(_FORMULA) else plain


class HarmlessOutput(io.TextIOWrapper):
    """Standard output, or standard error, of a program that may say what others wrote."""

    before: TextIO

    def write(self, text: str, /) -> int:
        super().write(lines(text))
        return len(text)


def harmless_stream(stream: TextIO) -> TextIO:
    """``stream`` as it was when it is none of the system's."""
    below = getattr(stream, "buffer", None)
    if below is None:
        return stream
    stream.flush()
    encoding = stream.encoding if stream.encoding.lower() not in {"ascii", "ansi_x3.4-1968"} else "utf-8"
    made = HarmlessOutput(below, encoding=encoding, errors="backslashreplace", line_buffering=True)
    # Gone, it would close what is below.
    made.before = stream
    return made


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
