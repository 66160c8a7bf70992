"""What a freeze holds, and how long. Pure: no clock, no database.

Held is what is planned for many devices and changes one: a single cure by a person goes on, and so does every read.

Invariant: whatever is held at a moment would start at the moment that `held_until` answers, if nobody declares another.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from protocol.commands import DangerClass

# The longest usual one, around the Spring Festival, is about half of it.
LONGEST = timedelta(days=45)
FURTHEST = timedelta(days=400)
# Announced so long before it begins, on pages.
ANNOUNCED = timedelta(hours=24)


class Span(Protocol):
    @property
    def begins_at(self) -> datetime: ...
    @property
    def ends_at(self) -> datetime: ...


def starts_in_freeze(danger_class: DangerClass, *, is_planned: bool) -> bool:
    """Whether it may begin while a freeze is in force. ``is_planned``: part of something for many devices."""
    return not is_planned or danger_class is DangerClass.READS


def held_until(spans: Sequence[Span], now: datetime) -> datetime | None:
    """The first moment from ``now`` on that no span covers; None while none is in force. ``spans`` in any order."""
    until = now
    for one in sorted(spans, key=lambda span: span.begins_at):
        if one.begins_at <= until < one.ends_at:
            until = one.ends_at
    return until if until > now else None
