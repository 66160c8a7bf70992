"""Looks at everything that is shown, sent or written, for texts that were planted: each must be text, and whole."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Final

from tests.integration.hostile.words import Planted, marks_in, wrong_in
from tests.support.hostile import foreign, formulas, steering

_EVENT_LINE: Final = re.compile(r"(?:(?:id|event|data|retry): .*|:.*|)\Z")
_LABELS: Final = r'\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*\}'
_METRIC_LINE: Final = re.compile(rf"(?:# .*|[a-zA-Z_:][\w:]*(?:{_LABELS})? [-+.\de]+(?:inf|nan)?|)\Z", re.IGNORECASE)
# What a stream brings into a page that is open.
_PARTS: Final = frozenset({"hx-partial"})


@dataclass
class Witness:
    """``wrong``: by the place where it was seen; ``seen``: marks, and the places that show them."""

    planted: Planted
    wrong: list[str] = field(default_factory=list)
    seen: dict[str, set[str]] = field(default_factory=dict)

    def page(self, place: str, html: str, *, is_stream: bool = False) -> None:
        self.wrong += [f"{place}: {one}" for one in foreign(html, ours=_PARTS if is_stream else frozenset())]
        reader = _Texts()
        reader.feed(html)
        reader.close()
        self.texts(place, reader.texts)

    def json(self, place: str, text: str) -> None:
        self.texts(place, _strings(json.loads(text)))

    def lines_of_json(self, place: str, text: str) -> None:
        self._no_steering(place, text)
        for line in text.split("\n"):
            if line:
                self.json(place, line)

    def table(self, place: str, text: str) -> None:
        self.wrong += [f"{place}: a formula: {one!r}" for one in formulas(text)]
        self._no_steering(place, text, but="\r\n")
        self.texts(place, (cell for row in csv.reader(io.StringIO(text)) for cell in row))

    def events(self, place: str, text: str) -> None:
        self._no_steering(place, text)
        for line in text.split("\n"):
            if _EVENT_LINE.match(line) is None:
                self.wrong.append(f"{place}: no line of a stream: {line[:200]!r}")
            elif line.startswith("data: {"):
                self.json(place, line.removeprefix("data: "))

    def terminal(self, place: str, text: str) -> None:
        """What a command says to a person: also in columns, which are as wide as what stands in them."""
        self._no_steering(place, text)
        self.texts(place, text.split("\n"))

    def metrics(self, place: str, text: str) -> None:
        self.wrong += [f"{place}: {line[:200]!r}" for line in text.split("\n") if _METRIC_LINE.match(line) is None]
        self.texts(place, [text])

    def _no_steering(self, place: str, text: str, but: str = "\n") -> None:
        signs = steering(text, but=but)
        if signs:
            self.wrong.append(f"{place}: steers by {sorted(map(ascii, signs))}")

    def texts(self, place: str, texts: Any) -> None:
        for text in texts:
            for mark in marks_in(text):
                self.seen.setdefault(mark, set()).add(place)
            self.wrong += [f"{place}: {one}" for one in wrong_in(self.planted, text)]


class _Texts(HTMLParser):
    """Texts between tags, those that a reader sees as one in one piece, and values of attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._is_open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_open = False
        self.texts += [value for _, value in attrs if value]

    def handle_endtag(self, tag: str) -> None:
        self._is_open = False

    def handle_data(self, data: str) -> None:
        if self._is_open:
            self.texts[-1] += data
        else:
            self.texts.append(data)
            self._is_open = True


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
