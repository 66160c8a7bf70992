"""Finds by C-speed searches where a rule may have something to find, so that the rule itself looks only there.

A text is read as classes: one byte a character, `IN` for what a rule collects (digits, or hex digits), `BETWEEN` for
what may stand between two of them, `OUT` for all else. Card data then shows as one of a few fixed strings of classes,
which `bytes.find` looks for at more than a gigabyte a second. Every search here answers a superset: a place that is not
named holds nothing that the rule would take.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from protocol.redaction.card_numbers import MIN_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

IN, BETWEEN, OUT = b"0", b".", b"x"
MIN_HEX = 16
_LONG_NUMBER, _LONG_HEX = IN * MIN_DIGITS, IN * MIN_HEX
_RUN = re.compile(rb"0+")
_LONG, _CHARS_PER_RUN = 2000, 100  # where runs are denser, one pattern over all costs less than a search for each


def _classes(collected: bytes, between: bytes) -> bytes:
    of = {**dict.fromkeys(between, BETWEEN), **dict.fromkeys(collected, IN)}
    return b"".join(of.get(octet, OUT) for octet in range(256))


_DIGITS = _classes(b"0123456789", b" -._/")
_HEX = _classes(b"0123456789ABCDEFabcdef", b" :,-\t\r\n")


class Reading:
    """A folded text with its classes, one byte a character, and the long runs in it that several rules ask for."""

    __slots__ = ("_hex_runs", "_hexes", "_numbers", "digits", "octets", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.octets = text.encode("ascii", "replace")  # what is not ASCII stands as "?"
        self.digits = self.octets.translate(_DIGITS)
        self._hexes: bytes | None = None
        self._numbers: list[tuple[int, int]] | None = None
        self._hex_runs: list[tuple[int, int]] | None = None

    @property
    def numbers(self) -> list[tuple[int, int]]:
        if self._numbers is None:
            self._numbers = list(runs(self.digits, MIN_DIGITS)) if _LONG_NUMBER in self.digits else []
        return self._numbers

    @property
    def hexes(self) -> bytes:
        if self._hexes is None:
            self._hexes = self.octets.translate(_HEX)
        return self._hexes

    @property
    def hex_runs(self) -> list[tuple[int, int]]:
        if self._hex_runs is None:
            self._hex_runs = list(runs(self.hexes, MIN_HEX)) if _LONG_HEX in self.hexes else []
        return self._hex_runs


def digit_classes(octets: bytes) -> bytes:
    return octets.translate(_DIGITS)


def hex_classes(octets: bytes) -> bytes:
    return octets.translate(_HEX)


def runs(classes: bytes, shortest: int) -> Iterator[tuple[int, int]]:
    """Start and end of each run of at least `shortest` that are `IN`."""
    needle = IN * shortest
    if len(classes) > _LONG and classes.count(needle) * _CHARS_PER_RUN > len(classes):
        yield from (match.span() for match in re.finditer(rb"0{%d,}" % shortest, classes))
        return
    start = classes.find(needle)
    while start >= 0:
        match = _RUN.match(classes, start + shortest)
        end = match.end() if match is not None else start + shortest
        yield start, end
        start = classes.find(needle, end)


class Places:
    """Where any of some strings of classes begins, asked for in ascending order."""

    def __init__(self, classes: bytes, needles: Iterable[bytes]) -> None:
        self._classes = classes
        self._ahead = {needle: at for needle in needles if (at := classes.find(needle)) >= 0}

    def first_from(self, position: int) -> int:
        """-1 when there is none any more."""
        first = -1
        for needle, at in list(self._ahead.items()):
            if at < position:
                at = self._classes.find(needle, position)  # noqa: PLW2901 - the one that counts from here on
                if at < 0:
                    del self._ahead[needle]
                    continue
                self._ahead[needle] = at
            if first < 0 or at < first:
                first = at
        return first
