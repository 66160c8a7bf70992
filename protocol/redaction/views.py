"""Other readings of a text, each with a way back to where it stands: folded characters, excerpts, resolved escapes.

Folding keeps the length (full-width digits, other scripts' digits, odd spaces and dashes), so it needs no map. A `View`
is put together of stretches of its source, as they are or replaced, and remembers where each came from.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

from protocol.redaction.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Span = tuple[int, int]

# What is invisible beside UTF-16's zero bytes: zero-width characters, soft hyphens.
INVISIBLE = "\x00\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
# %36, \u0036, \x36, &#54;, a form's plus between digits, and what is invisible; several of one kind in one go, and of
# UTF-16 the characters between its zero bytes. First what each begins with, which most texts do not hold.
_ESCAPE = re.compile(
    rf"[%\\&+{INVISIBLE}](?:(?<=%)([0-9A-Fa-f]{{2}}(?:%[0-9A-Fa-f]{{2}})*)"
    r"|(?<=\\)(?:u([0-9A-Fa-f]{4}(?:\\u[0-9A-Fa-f]{4})*)|x([0-9A-Fa-f]{2}(?:\\x[0-9A-Fa-f]{2})*))"
    r"|(?<=&)#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}));"
    r"|(?<=\x00)((?:[0-9A-Za-z \-=:;?]\x00)+)"
    rf"|(?<=[{INVISIBLE}])[{INVISIBLE}]*|(?<=[0-9]\+)(?=[0-9]))"
)
_PERCENT, _U, _X, _HEX_ENTITY, _DECIMAL_ENTITY, _UTF_16 = range(1, 7)
_HEX_DIGITS = {_PERCENT: 2, _U: 4, _X: 2}
_NUMBERS = {digits: re.compile(rf"[0-9A-Fa-f]{{{digits}}}") for digits in (2, 4)}
# Where they are, by the character that they begin with: a pattern is searched for quickly by a first character.
_ESCAPES_BY_MARK = {
    "%": re.compile(r"%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*"),
    "\\": re.compile(r"\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2})(?:\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}))*"),
    "&": re.compile(r"&#(?:x[0-9A-Fa-f]{1,6}|[0-9]{1,7});(?:&#(?:x[0-9A-Fa-f]{1,6}|[0-9]{1,7});)*"),
    "+": re.compile(r"\+(?<=[0-9]\+)(?=[0-9])"),
    **{char: re.compile(rf"{char}(?:[^\n]?{char})*") for char in INVISIBLE},
}
_FOLD_CACHE = 4096
_MAX_REPLACED_ONE_BY_ONE = 48
_MAX_CODE_POINT = 0x10FFFF
_ASCII = bytes(range(0x80))
# Chinese and Korean writing stays as it is, so that only what else there is needs a look.
_MAY_FOLD = re.compile("[^\x00-\x7f\u4e00-\u9fff\uac00-\ud7a3]+")
_GUARD = "|\n"  # between two stretches of an excerpt: no rule looks across it


class View:
    """Add stretches in order; `text` is what they make."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._begins: list[int] = []  # of each stretch in the view
        self._sources: list[tuple[int, int, int]] = []  # of its first character: start, step to the next one's, length

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def add(self, text: str, start: int, step: int = 1, length: int = 1) -> None:
        """Puts what stands at `start` in the source: as it is, or characters instead of as many stretches of it."""
        if text:
            self._begins.append(self._length)
            self._sources.append((start, step, length))
            self._parts.append(text)
            self._length += len(text)

    def add_guard(self) -> None:
        if self._parts:
            self._parts.append(_GUARD)
            self._length += len(_GUARD)

    def back(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        for found in findings:
            if found.end > found.start:
                start, end = self._source(found.start)[0], self._source(found.end - 1)[1]
                yield Finding(start, end, found.kind, found.last_four)

    def _source(self, at: int) -> Span:
        index = bisect_right(self._begins, at) - 1
        start, step, length = self._sources[index]
        start += (at - self._begins[index]) * step
        return start, start + length


def fold(text: str) -> str:
    """The same length, with every digit, space, dash and compatibility form as its ASCII look-alike."""
    if text.isascii():
        return text
    # The octets of ASCII are no part of other characters.
    others = text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass")
    changed = {char: folded for char in set(others) if (folded := _fold_char(char)) != char}
    if len(changed) > _MAX_REPLACED_ONE_BY_ONE:
        return _MAY_FOLD.sub(lambda match: "".join(map(_fold_char, match[0])), text)
    for char, folded in changed.items():
        text = text.replace(char, folded)
    return text


def excerpt(text: str, stretches: Iterable[Span]) -> View:
    """Stretches of whole lines, one after another."""
    view = View()
    for start, end in stretches:
        view.add_guard()
        view.add(text[start:end], start)
    return view


def escapes(text: str) -> list[Span]:
    """Where escapes and invisible characters stand, in order."""
    patterns = [pattern for mark, pattern in _ESCAPES_BY_MARK.items() if mark in text]
    return sorted(match.span() for pattern in patterns for match in pattern.finditer(text))


def has_escapes(text: str) -> bool:
    if text.isascii() and not ("%" in text or "\\" in text or "&" in text or "+" in text or "\x00" in text):
        return False
    return any(mark in text and pattern.search(text) is not None for mark, pattern in _ESCAPES_BY_MARK.items())


def resolved(text: str) -> str:
    """The same as `without_escapes`, where nobody asks for the way back."""
    return fold(_ESCAPE.sub(lambda match: "".join(one[0] for one in _unescaped(match)), text))


def without_escapes(text: str, stretches: Iterable[Span]) -> View:
    """Stretches of whole lines with escapes resolved and invisible characters left out."""
    view = View()
    for start, end in stretches:
        view.add_guard()
        position = start
        for match in _ESCAPE.finditer(text, start, end):
            begin, stop = match.span()
            if begin > position:
                view.add(text[position:begin], position)
            for piece in _unescaped(match):
                view.add(*piece)
            position = stop
        view.add(text[position:end], position)
    return view


def _unescaped(match: re.Match[str]) -> Iterator[tuple[str, int, int, int]]:
    """What it stands for and where: start of the first one's, step from one to the next, length of one."""
    kind = match.lastindex
    start, end = match.span()
    if kind in _HEX_DIGITS:
        yield from _of_run(match[kind], start, end, _HEX_DIGITS[kind])
    elif kind == _UTF_16:
        yield match[kind][::2], start + 1, 2, 1
    elif kind is not None:
        yield _char(int(match[kind], 10 if kind == _DECIMAL_ENTITY else 16)), start, end - start, end - start
    elif match[0] == "+":
        yield " ", start, 1, 1


def _of_run(run: str, start: int, end: int, digits: int) -> Iterator[tuple[str, int, int, int]]:
    numbers = _NUMBERS[digits].findall(run)
    step = (end - start) // len(numbers)
    chars = [_char(int(number, 16)) for number in numbers]
    if all(chars):
        yield "".join(chars), start, step, step
    else:
        yield from ((char, start + place * step, step, step) for place, char in enumerate(chars))


def _char(number: int) -> str:
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
