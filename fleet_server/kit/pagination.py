"""Keyset paging: a cursor is the sort key of the last row, opaque to callers. No COUNT, no OFFSET."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from math import isfinite
from typing import Generic, TypeVar

from fleet_server.errors import FleetError

MAX_LIMIT = 200
DEFAULT_LIMIT = 50

Item = TypeVar("Item")


class CursorInvalid(FleetError):
    code = "cursor_invalid"
    status = 422


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """``next`` is the cursor of the following page, or None on the last."""

    items: list[Item]
    next: str | None


def encode_cursor(*key: str | float | None) -> str:
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> list[str | int | float | None]:
    """The key of ``length`` parts. Raises ``CursorInvalid`` for anything that `encode_cursor` did not make."""
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise CursorInvalid("cursor is not one that this server gave out") from error
    if not isinstance(key, list) or len(key) != length or not all(map(_is_part, key)):
        raise CursorInvalid(f"cursor is not one of this list: expected {length} parts")
    return key


def _is_part(part: object) -> bool:
    """Whether a database takes it for a value of a key."""
    match part:
        case bool():
            return False
        case int():
            return -(2**63) <= part < 2**63
        case float():
            return isfinite(part)
        case str():
            # Neither a null character nor half of a surrogate pair is text to PostgreSQL.
            return "\0" not in part and not any("\ud800" <= sign <= "\udfff" for sign in part)
        case _:
            return part is None
