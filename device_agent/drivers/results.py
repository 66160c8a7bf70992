"""What a driver says about its device: the values every family shares.

Readings carry metric ids of the catalogue, fault signs carry code ids of the catalogue. A metric that was not measured
is absent, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Reading = bool | int | float | str
StateT = TypeVar("StateT")

# Codes of the catalogue for what a line itself shows, whatever speaks on it.
LINE_SILENT_CODE = "agent.LINE_SILENT"
LINE_NOISE_CODE = "term.SERIAL_FRAME"
# A terminal that the agent runs on has no cable to look at: its own service is what is silent.
SERVICE_SILENT_CODE = "agent.SERVICE_SILENT"
# One lost answer happens to every line; so many of a kind do not happen by chance among few.
_TELLING = 3


@dataclass(frozen=True, slots=True)
class FaultSign:
    """One code that holds now, with the bytes or words that show it."""

    code: str
    evidence: str


@dataclass(frozen=True, slots=True)
class LineStatistics:
    """Counts since the driver was made; they only grow."""

    received_bytes: int = 0
    sent_bytes: int = 0
    frames: int = 0
    bad_frames: int = 0
    noise_bytes: int = 0
    requests: int = 0
    timeouts: int = 0
    naks: int = 0
    reopened: int = 0


@dataclass(frozen=True, slots=True)
class RecentExchanges:
    """The last ``exchanges`` of a line, at most ``window``, and how many of them went wrong, each in its way."""

    window: int
    exchanges: int = 0
    damaged: int = 0
    timed_out: int = 0
    refused: int = 0

    def rate(self, wrong: int) -> float | None:
        """``wrong`` of them in %; None while one or two among few exchanges would make a rate of chance."""
        if not self.exchanges or (0 < wrong < _TELLING and self.exchanges < self.window):
            return None
        return round(100.0 * wrong / self.exchanges, 2)


@dataclass(frozen=True, slots=True)
class PollResult(Generic[StateT]):
    polled_at: datetime
    alive: bool
    readings: Mapping[str, Reading]
    faults: frozenset[FaultSign]
    state: StateT
    line: LineStatistics
    untold: frozenset[str] = frozenset()
    """Codes that this look can neither show nor rule out."""


class Outcome(Enum):
    DONE = "done"
    REFUSED = "refused"
    """The device answered, with a code of its own."""
    NO_ANSWER = "no_answer"
    LINE_DOWN = "line_down"


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request to the device went. `code` is a catalogue id whenever the device or the line gave a reason."""

    outcome: Outcome
    code: str | None = None
    evidence: str = ""
    values: Mapping[str, Reading] = field(default_factory=dict)
    lines: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        return self.outcome is Outcome.DONE
