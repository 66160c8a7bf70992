"""Puts the rules together: finds everything in a text that must not stay, and writes the text without it.

What was written is scanned again until nothing is found, so the answer never holds what a rule knows and scrubbing it
once more changes nothing. Lines that do not come to rest in a few passes are dropped whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.redaction.base64_runs import find_in_base64
from protocol.redaction.borders import groups
from protocol.redaction.findings import Finding, Hit, Scrubbed, merge, replacement
from protocol.redaction.hex_dumps import find_in_hex, first_in_packed
from protocol.redaction.secrets import find_secrets
from protocol.redaction.sieve import IN, Reading
from protocol.redaction.views import escapes, excerpt, fold, without_escapes
from protocol.redaction.written_forms import find_card_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.redaction.findings import HitKind

    Span = tuple[int, int]

_MIN_DIGITS = 3  # of the shortest value that any rule for text takes, but for a track 1 of blanks
_MAX_PASSES = 4
_DROPPED_WHOLE = "[REDACTED]"


def scrub(text: str) -> Scrubbed:
    return scrub_folded(text, fold(text))


def scrub_folded(text: str, folded: str) -> Scrubbed:
    found = find_in_folded(folded)
    return without(text, folded, found) if found else Scrubbed(text, ())


def find_card_data(text: str) -> list[Finding]:
    """In order, not overlapping; positions in `text`."""
    return find_in_folded(fold(text))


def without(text: str, folded: str, found: list[Finding]) -> Scrubbed:
    """The text without what was found in it, and without what shows only then."""
    hits: list[Hit] = []
    for _ in range(_MAX_PASSES):
        hits.extend(Hit(one.kind, one.start, one.end) for one in found)
        text, changed = _replaced(text, found, replacement)
        folded, _ = _replaced(folded, found, _plain_replacement)
        # Elsewhere there was nothing, and still is nothing.
        near = excerpt(folded, groups(folded, changed, with_neighbours=True))
        found = list(near.back(find_in_folded(near.text)))
        if not found:
            return Scrubbed(text, tuple(hits))
    return Scrubbed(_dropped(text, groups(folded, [(one.start, one.end) for one in found])), tuple(hits))


def find_in_folded(folded: str) -> list[Finding]:
    found = _in_reading(Reading(folded))
    escaped = escapes(folded)
    if escaped:
        view = without_escapes(folded, groups(folded, escaped))
        found.extend(view.back(_in_reading(Reading(fold(view.text)))))
    return merge(found)


def _in_reading(reading: Reading) -> list[Finding]:
    return [
        *find_card_numbers(reading),
        *find_secrets(reading),
        *find_in_hex(reading, _in_text),
        *find_in_base64(reading, _in_text, _in_packed),
    ]


def _in_text(text: str) -> list[Finding]:
    reading = Reading(text)
    if reading.digits.count(IN) < _MIN_DIGITS and "^" not in text:
        return []
    return [*find_card_numbers(reading), *find_secrets(reading)]


def _in_packed(nibbles: str) -> tuple[HitKind, str] | None:
    return first_in_packed(nibbles, _in_text)


def _plain_replacement(found: Finding) -> str:
    """As long, and as much as nothing to any rule: without it a text of ASCII stays one, which is read faster."""
    return replacement(found).replace("…", "~")


def _replaced(text: str, findings: list[Finding], put: Callable[[Finding], str]) -> tuple[str, list[Span]]:
    """The new text, and where in it something was put."""
    parts: list[str] = []
    changed: list[Span] = []
    position = length = 0
    for found in findings:
        instead = put(found)
        parts += [text[position : found.start], instead]
        length += found.start - position
        changed.append((length, length + len(instead)))
        length += len(instead)
        position = found.end
    return "".join([*parts, text[position:]]), changed


def _dropped(text: str, stretches: list[Span]) -> str:
    parts: list[str] = []
    position = 0
    for start, end in stretches:
        line_end = "\n" if text[end - 1 : end] == "\n" else ""
        parts += [text[position:start], _DROPPED_WHOLE, line_end]
        position = end
    return "".join([*parts, text[position:]])
