"""One text for each field: marked so that it is found again anywhere, and as hostile as the field's door lets in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from protocol.shown_text import one_line
from tests.support.hostile import MARK

# In a text as in what became of it: letters and digits stay what they are, whatever escapes the rest.
_MARK: Final = re.compile(r"zq[0-9a-f]{3}z", re.IGNORECASE)
_STEERS: Final = (
    "\x1b[2J\x9b31m\u202e\u2028\r\nforged\t"
    "\x1b]52;c;enF4\x07\x1b]8;;http://zqx\x1b\\here\x1b]8;;\x1b\\\u2066\u200b\x85\x7f"
)
_MARKS_UP: Final = (
    f"<b {MARK}>\"'><img src={MARK} onerror=window.{MARK}=1></script><script>window.{MARK}=1</script>{{{{7*7}}}}"
)
_CUT: Final = "…'\"`"
PRINTABLE: Final = f"=1+1{_MARKS_UP}"


@dataclass(slots=True)
class Planted:
    """What was planted where, and how the doors took it."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)

    def rungs(self, mark: str, longest: int) -> Iterator[str]:
        """From the most hostile to what is only marked; each may be shorter than what is let in."""
        for text in (
            f"={mark}<b {MARK}>{_STEERS}{_MARKS_UP}",
            f"={mark}{_MARKS_UP}",
            f"{mark}{_MARKS_UP}",
            f"={mark}",
            mark,
        ):
            yield text[:longest] if longest else text

    def mark(self, name: str) -> str:
        mark = f"zq{len(self.fields):03x}z"
        self.fields[mark] = name
        return mark

    def text(self, name: str, longest: int = 0, rung: int = 0) -> str:
        """Of a new mark."""
        mark = self.mark(name)
        return self.say(mark, list(self.rungs(mark, longest))[rung])

    def say(self, mark: str, text: str) -> str:
        self.texts.setdefault(mark, []).append(text)
        return text

    def marks_of(self, name: str) -> list[str]:
        return [mark for mark, one in self.fields.items() if one == name]


def marks_in(text: str) -> set[str]:
    return {found.lower() for found in _MARK.findall(text)}


def wrong_in(planted: Planted, text: str) -> Iterator[str]:
    """Marks in ``text``, one value as a person or a program has it, behind which not all follows that was planted, in
    one of the forms in which it may: as it was, or as escapes of one line. What was cut ends so, or in a quote.
    """
    for found in _MARK.finditer(text):
        mark = found[0].lower()
        came = _plain(text[found.start() :])
        wanted = [_plain(whole[whole.index(mark) :]) for whole in planted.texts.get(mark, ()) if mark in whole]
        if wanted and not any(_goes_on(one, came) for one in wanted):
            yield f"{planted.fields[mark]}: {came[:160]!r}, wanted {wanted[-1][:160]!r}"


def _goes_on(wanted: str, came: str) -> bool:
    same = next((at for at, (one, other) in enumerate(zip(wanted, came, strict=False)) if one != other), None)
    return same is None or came[same] in _CUT


def _plain(text: str) -> str:
    """What all forms have in common: no sign that steers, no space, no case, and no backslash, for each form of
    writing puts more of them.
    """
    escaped = re.sub(r"\\+(?:u[0-9a-f]{4}|x[0-9a-f]{2}|[rnt])", "", one_line(text))
    return re.sub(r"[\s\\\ufffd]+", "", escaped).casefold()
