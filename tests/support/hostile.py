"""Texts that mean harm where somebody shows, opens or logs them. Each markup carries `MARK`, so that it is found again
as a tag, an attribute or an address, and as nothing else.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from html.parser import HTMLParser
from typing import Final

MARK: Final = "zqx"
# Short enough for most columns each; what is longer than a column is cut.
MARKUP: Final = (
    f'"><b {MARK}=1>',
    f"'><{MARK}>",
    f"</title><svg/onload=window.{MARK}=1>",
    f'"><img src={MARK} onerror=window.{MARK}=1>',
    f"</script><script>window.{MARK}=1</script>",
    f"</textarea><iframe srcdoc='<script>top.{MARK}=1</script>'>",
    f"<hx-partial hx-target='#main'><p {MARK}>taken over</p></hx-partial>",
    f"javascript:window.{MARK}=1//",
    f"' {MARK}='a\" {MARK}=\"b` {MARK}=c ",
    "{{7*7}}${7*7}{% raw %}%(n)s %s {0}",
)
FORMULAS: Final = ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", "＝1+1", " =cmd|' /C calc'!A0", "\u3000＋1")
STEERING: Final = (
    "ok\r\n2026-01-01 00:00:00,000 INFO device_agent: all is well",
    'ok\n{"event":"all is well","level":"info"}',
    "\x1b[2J\x1b[31mred\x1b]0;title\x07",
    "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "\x9b31mred\x85next\x7f\x08\x08\x00",
    "a\u2028b\u2029c",
    "\u202egnp.exe\u2066x\u2069\u200b\ufeff",
    "\U000e0041\U000e0042",
)
CORPUS: Final = (*MARKUP, *FORMULAS, *STEERING)
_BANNED: Final = frozenset({"script", "iframe", "object", "embed", "base", "hx-partial"})
_CATEGORIES: Final = {"Cc", "Cf", "Zl", "Zp"}


class _Watcher(HTMLParser):
    def __init__(self, ours: frozenset[str]) -> None:
        super().__init__()
        self._ours = ours
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if MARK in tag or any(MARK in name for name in given):
            self.found.append(f"{tag} {given}")
        if tag in _BANNED - self._ours and not _is_ours(tag, given):
            self.found.append(tag)
        for name, value in attrs:
            text = (value or "").strip().lower()
            runs = name.startswith("on") or (name in {"href", "src", "action", "formaction"} and _is_script(text))
            if runs or (name == "src" and MARK in text):
                self.found.append(f"{tag} {name}={value}")


def _is_ours(tag: str, given: dict[str, str | None]) -> bool:
    return tag == "script" and (given.get("src") or "").startswith("/static/")


def _is_script(address: str) -> bool:
    return address.startswith(("javascript:", "data:", "vbscript:"))


def foreign(html: str, *, ours: frozenset[str] = frozenset()) -> list[str]:
    """What hostile text has made of a page: tags, handlers, addresses that are not ours. ``ours``: tags that this page
    has besides, such as the parts that a stream brings.
    """
    watcher = _Watcher(ours)
    watcher.feed(html)
    return watcher.found


def steering(text: str, *, but: str = "\n") -> set[str]:
    """Characters that would steer a terminal, or cut a line of a log in two."""
    return {sign for sign in text if unicodedata.category(sign) in _CATEGORIES and sign not in but}


def formulas(table: str) -> list[str]:
    """Cells of a CSV file that a spreadsheet would calculate."""
    cells = [cell for row in csv.reader(io.StringIO(table)) for cell in row]
    starts = ("=", "+", "@", "\t", "\r", "\n", "＝", "＋", "＠", "－")
    return [one for one in cells if one.lstrip(" \u3000").startswith(starts) or _is_minus(one.lstrip(" \u3000"))]


def _is_minus(cell: str) -> bool:
    """A number may be below zero."""
    if not cell.startswith("-"):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False
