"""On which side of its normal range a value stands for good: the one rule for what agents report out of turn and for
what becomes an event on the server.

A state (`paper_out`, 0 or 1) changes sides at once. A number leaves its range when it is plainly outside (5 % of the
range's width past the limit) or outside at two samples in a row; it is back when every sample of `BACK_AFTER_MS` was
inside. So a value that swings about its limit, or far across it, is told once and not with each swing.

Invariants: what cannot be judged changes nothing; a value that stays on one side is told there at its second sample
outside, or by its first sample `BACK_AFTER_MS` after it came back. Samples come in the order of their time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.catalogue.normal_range import AtLeast, AtMost, Between, Judgement, NormalRange, Value

PLAINLY_PART: Final = 0.05
# Longer than the swings of a loaded processor, short beside the time in which a person acts.
BACK_AFTER_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Side:
    """``crossed_ms``: when the first sample of the other side was taken that all since have confirmed; None: none."""

    is_abnormal: bool
    crossed_ms: int | None = None


def follow(before: Side | None, normal: NormalRange, value: Value, at_ms: int) -> Side | None:
    """The side after this sample; ``at_ms`` by whatever clock, always the same one. None: never judged."""
    judgement = normal.judge(value)
    if judgement is Judgement.UNKNOWN:
        return before
    is_outside = judgement.is_abnormal
    if before is None or (is_outside == before.is_abnormal and before.crossed_ms is not None):
        return Side(is_outside)
    if is_outside == before.is_abnormal:
        return before
    crossed_ms = before.crossed_ms
    if _is_told_at_once(normal, value, is_outside=is_outside):
        return Side(is_outside)
    if crossed_ms is None:
        return Side(before.is_abnormal, at_ms)
    is_settled = is_outside or at_ms - crossed_ms >= BACK_AFTER_MS
    return Side(is_outside) if is_settled else before


def _is_told_at_once(normal: NormalRange, value: Value, *, is_outside: bool) -> bool:
    if not isinstance(normal, AtMost | AtLeast | Between):
        return True
    return is_outside and isinstance(value, int | float) and _distance(normal, value) >= PLAINLY_PART * _width(normal)


def _distance(normal: AtMost | AtLeast | Between, number: float) -> float:
    """How far outside."""
    match normal:
        case AtMost(limit):
            return number - limit
        case AtLeast(limit):
            return limit - number
        case Between(low, high):
            return max(low - number, number - high)


def _width(normal: AtMost | AtLeast | Between) -> float:
    """A range with one end is as wide as its limit is far from zero."""
    return normal.high - normal.low if isinstance(normal, Between) else abs(normal.limit)
