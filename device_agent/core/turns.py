"""The vocabulary of an execution's course: its stages, the moment it is told of, what one turn of it leads to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from device_agent.core.effects import Effect
from device_agent.core.instant import Instant
from protocol.records import RecordBody


class Stage(Enum):
    QUEUED = "queued"
    SHOWING = "showing"
    CONSENT = "consent"
    ASKING = "asking"
    HELD = "held"
    PRE_CHECK = "pre_check"
    CHECK = "check"
    STEP = "step"
    PROBE = "probe"
    PROBE_LATER = "probe_later"
    RETRY = "retry"
    POST_CHECK = "post_check"
    SETTLING = "settling"
    SOAK = "soak"
    LAST_CHECK = "last_check"
    ENDED = "ended"


# No part that changes anything is out: a cancel ends it at once.
BETWEEN: Final = frozenset(
    {Stage.QUEUED, Stage.SHOWING, Stage.CONSENT, Stage.ASKING, Stage.HELD, Stage.PRE_CHECK, Stage.RETRY}
)


@dataclass(frozen=True, slots=True)
class Moment:
    now: Instant
    trusted_ms: int


@dataclass(slots=True)
class Turn:
    """What one event leads to. ``is_durable``: ``effects`` may begin only after the rest is on disk."""

    bodies: list[RecordBody] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    is_durable: bool = True
