"""The integrators' page taken apart: its fenced blocks by what their info string says is to be done with them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "integrator.md"
_FENCE = re.compile(r"^```([a-z ]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# (test_\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """``section`` is the nearest heading of the second level above it."""

    info: str
    text: str
    section: str


@cache
def blocks() -> tuple[Block, ...]:
    page = PAGE.read_text("utf-8")
    return tuple(Block(found[1], found[2], _section(page[: found.start()])) for found in _FENCE.finditer(page))


def marked(info: str) -> list[Block]:
    return [block for block in blocks() if block.info == info]


def printed_tests() -> dict[str, str]:
    """The tests that the page prints, by the file name in their first line."""
    found = {}
    for block in marked("python"):
        name = _FILE_NAME.match(block.text)
        assert name is not None, "a printed test names its file in its first line"
        found[name[1]] = block.text
    return found


def table_column(section: str, header: str) -> list[str]:
    """The first cells, without backquotes, of the table of a section whose first header is ``header``."""
    page = PAGE.read_text("utf-8")
    begin = page.index(f"# {section}\n")
    rows = page[page.index(f"\n| {header} |", begin) :].splitlines()[3:]
    cells = []
    for row in rows:
        if not row.startswith("| "):
            break
        cells += re.findall(r"`([^`]+)`", row.split(" | ")[0])
    return cells


def _section(before: str) -> str:
    return [line for line in before.splitlines() if line.startswith("## ")][-1].removeprefix("## ")
