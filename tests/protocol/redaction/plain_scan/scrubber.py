"""Puts the rules together: finds everything in a text that must not stay, and writes the text without it.

What was written is scanned again until nothing is found, so the answer never holds what a rule knows and scrubbing it
once more changes nothing. A text that does not come to rest in a few passes is dropped whole.
"""

from __future__ import annotations

from protocol.redaction.findings import Finding, Hit, Scrubbed, merge, replacement
from tests.protocol.redaction.plain_scan.base64_runs import find_in_base64
from tests.protocol.redaction.plain_scan.hex_dumps import find_in_hex
from tests.protocol.redaction.plain_scan.secrets import find_secrets
from tests.protocol.redaction.plain_scan.views import fold, without_escapes
from tests.protocol.redaction.plain_scan.written_forms import find_card_numbers

_MAX_PASSES = 4
_DROPPED_WHOLE = "[REDACTED]"


def scrub(text: str) -> Scrubbed:
    hits: list[Hit] = []
    for _ in range(_MAX_PASSES):
        findings = find_card_data(text)
        if not findings:
            return Scrubbed(text, tuple(hits))
        hits.extend(Hit(found.kind, found.start, found.end) for found in findings)
        text = _without(text, findings)
    return Scrubbed(_DROPPED_WHOLE, tuple(hits))


def find_card_data(text: str) -> list[Finding]:
    """In order, not overlapping; positions in `text`."""
    folded = fold(text)
    found = _in_text(folded)
    found.extend(_in_encodings(folded))
    view = without_escapes(folded)
    if view is not None:
        found.extend(view.back(_in_text(view.text)))
        found.extend(view.back(_in_encodings(view.text)))
    return merge(found)


def _in_text(folded: str) -> list[Finding]:
    return [*find_card_numbers(folded), *find_secrets(folded)]


def _in_encodings(folded: str) -> list[Finding]:
    return [*find_in_hex(folded, _in_text), *find_in_base64(folded, _in_text, _in_hex)]


def _in_hex(text: str) -> list[Finding]:
    return find_in_hex(text, _in_text)


def _without(text: str, findings: list[Finding]) -> str:
    parts: list[str] = []
    position = 0
    for found in findings:
        parts += [text[position : found.start], replacement(found)]
        position = found.end
    return "".join([*parts, text[position:]])
