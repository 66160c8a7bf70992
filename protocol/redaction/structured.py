"""Scrubs what is inside a decoded JSON value: every string, every long number, every key, with its key as context.

Bounded in depth; what lies deeper is dropped, not passed on. Identifiers that must stay readable go through
`allowed_fields` before they are put into such a value.
"""

from __future__ import annotations

from protocol.redaction.card_numbers import SMALLEST_CARD_NUMBER, is_card_value
from protocol.redaction.scrubber import scrub

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAX_DEPTH = 16
_TOO_DEEP = "[DROPPED: TOO DEEP]"
_HIDDEN_BY_KEY = "[REDACTED]"


def scrub_json(value: Json, *, max_depth: int = MAX_DEPTH) -> Json:
    """A new value of the same shape; a number that had to be masked becomes a string."""
    return _scrubbed(value, key="", depth_left=max_depth)


def _scrubbed(value: Json, *, key: str, depth_left: int) -> Json:
    if isinstance(value, (dict, list)) and depth_left <= 0:
        return _TOO_DEEP
    if isinstance(value, dict):
        return {
            scrub(name).text: _scrubbed(inner, key=name, depth_left=depth_left - 1) for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_scrubbed(inner, key=key, depth_left=depth_left - 1) for inner in value]
    if isinstance(value, str):
        return _scrubbed_leaf(value, key)
    return _scrubbed_number(value, key)


def _scrubbed_number(value: bool | float | None, key: str) -> Json:  # noqa: FBT001 - any JSON scalar
    if value is None or isinstance(value, bool):
        return value
    written = f"{value:.0f}" if type(value) is float and abs(value) >= SMALLEST_CARD_NUMBER else str(value)
    scrubbed = _scrubbed_leaf(written, key)
    if scrubbed != written:
        return scrubbed
    return _HIDDEN_BY_KEY if is_card_value(value) else value


def _scrubbed_leaf(text: str, key: str) -> str:
    alone = scrub(text)
    if alone.hits or not key:
        return alone.text
    prefix = f"{key}="
    in_context = scrub(prefix + text)
    if not in_context.hits:
        return text
    # The key itself was not touched when it still stands in front.
    return in_context.text.removeprefix(prefix) if in_context.text.startswith(prefix) else _HIDDEN_BY_KEY
