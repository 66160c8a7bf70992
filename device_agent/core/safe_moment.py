"""Whether an execution may begin at a moment, by `protocol.safety` and what the agent itself knows of that moment.

It is asked twice: before the execution leaves its wait, and by the device's worker in the same breath as the step
itself (`Guard`), for a payment may have begun in between.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from device_agent.core.hours import Hours
from protocol.safety import Condition, Effect, Judged, judge

# How often a held execution looks again; while only the clock holds it, no oftener than it must.
LOOK_AGAIN_S: Final = 5.0
LOOK_AGAIN_AT_MOST_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Guard:
    """Goes with a job that changes something: it is not begun when this says so. ``identity``: of the device that was
    looked at before, empty where it does not tell.
    """

    effect: Effect
    overrides: bool
    also: frozenset[Condition] = frozenset()
    identity: str = ""

    def judge(self, conditions: Collection[Condition]) -> Judged:
        return judge(self.effect, frozenset(conditions) | self.also, overrides=self.overrides)


@dataclass(frozen=True, slots=True)
class SafeMoment:
    effect: Effect
    overrides: bool
    hours: Hours | None

    def guard(self, at_ms: int, identity: str = "") -> Guard:
        return Guard(self.effect, self.overrides, self._own(at_ms), identity)

    def judge(self, conditions: Collection[Condition], at_ms: int) -> Judged:
        return self.guard(at_ms).judge(conditions)

    def earliest_ms(self, judged: Judged, at_ms: int) -> int | None:
        """When the clock lets it begin; None where no clock can tell, as for what people do."""
        if self.hours is None or judged.held != {Condition.OUTSIDE_WINDOW}:
            return None
        return self.hours.opens_ms(at_ms)

    def _own(self, at_ms: int) -> frozenset[Condition]:
        is_closed = self.hours is not None and not self.hours.is_open(at_ms)
        return frozenset({Condition.OUTSIDE_WINDOW}) if is_closed else frozenset()


def look_again_s(earliest_ms: int | None, at_ms: int) -> float:
    if earliest_ms is None:
        return LOOK_AGAIN_S
    return min(max((earliest_ms - at_ms) / 1000, LOOK_AGAIN_S), LOOK_AGAIN_AT_MOST_S)
