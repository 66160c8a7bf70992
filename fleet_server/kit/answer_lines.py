"""Lines of an answer that comes bit by bit. A line feed ends one, and nothing else does.

Python, and HTTP libraries with it, take further characters of a text for ends of lines: whoever wrote the text would
write lines of his own by them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Final

from fleet_server.errors import FleetError

if TYPE_CHECKING:
    import httpx2

MAX_LINE_CHARS: Final = 16 * 1024 * 1024


class LineTooLong(FleetError):
    code: ClassVar[str] = "line_too_long"


def lines_of(answer: httpx2.Response) -> Iterator[str]:
    """Without their ends. Raises ``LineTooLong``, and ``httpx2.HTTPError`` when the answer is cut."""
    parts: list[str] = []
    length = 0
    for piece in answer.iter_text():
        *whole, rest = piece.split("\n")
        for line in whole:
            yield "".join([*parts, line])
            parts, length = [], 0
        parts.append(rest)
        length += len(rest)
        if length > MAX_LINE_CHARS:
            raise LineTooLong(f"expected lines of at most {MAX_LINE_CHARS} characters")
    if last := "".join(parts):
        yield last
