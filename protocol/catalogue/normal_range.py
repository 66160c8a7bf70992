"""What is normal for a metric, as a union of small shapes, and the judgement of a value against it.

The text forms are those of the metric sources: `<=n`, `>=n`, `a..b`, `n`, a comma list, `@name` for sets that only the
server knows, `<=2*report_interval`. Judging never raises: what cannot be compared is UNKNOWN, which is neither normal
nor a fault.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from protocol.errors import ProtocolError

Value = bool | int | float | str | None

_BETWEEN = re.compile(r"(-?[0-9.e]+)\.\.(-?[0-9.e]+)")


class NormalRangeUnreadable(ProtocolError):
    code = "normal_range_unreadable"


class Judgement(Enum):
    IN_RANGE = "in_range"
    BELOW = "below"
    ABOVE = "above"
    OUTSIDE = "outside"  # a state that is not among the normal ones; it has no direction
    UNKNOWN = "unknown"

    @property
    def is_abnormal(self) -> bool:
        return self in {Judgement.BELOW, Judgement.ABOVE, Judgement.OUTSIDE}


class SpecialSet(Enum):
    """Normal by something that is not in the catalogue: the server's records or the previous report."""

    APPROVED = "@approved"
    PUBLISHED = "@published"
    KNOWN = "@known"
    SIM_POOL = "@sim_pool"
    STABLE = "@stable"
    TWO_REPORT_INTERVALS = "<=2*report_interval"


@dataclass(frozen=True, slots=True)
class AtMost:
    limit: float

    def judge(self, value: Value) -> Judgement:
        number = _as_number(value)
        if number is None:
            return Judgement.UNKNOWN
        return Judgement.ABOVE if number > self.limit else Judgement.IN_RANGE


@dataclass(frozen=True, slots=True)
class AtLeast:
    limit: float

    def judge(self, value: Value) -> Judgement:
        number = _as_number(value)
        if number is None:
            return Judgement.UNKNOWN
        return Judgement.BELOW if number < self.limit else Judgement.IN_RANGE


@dataclass(frozen=True, slots=True)
class Between:
    low: float
    high: float

    def judge(self, value: Value) -> Judgement:
        number = _as_number(value)
        if number is None:
            return Judgement.UNKNOWN
        if number < self.low:
            return Judgement.BELOW
        return Judgement.ABOVE if number > self.high else Judgement.IN_RANGE


@dataclass(frozen=True, slots=True)
class OneOf:
    """A set of states: all numbers (a bool counts as 0 or 1) or all words."""

    allowed: tuple[float, ...] | tuple[str, ...]

    def judge(self, value: Value) -> Judgement:
        words = tuple(item for item in self.allowed if isinstance(item, str))
        if words:
            if not isinstance(value, str):
                return Judgement.UNKNOWN
            return Judgement.IN_RANGE if value in words else Judgement.OUTSIDE
        number = _as_number(value)
        if number is None:
            return Judgement.UNKNOWN
        numbers = tuple(float(item) for item in self.allowed)
        if number in numbers:
            return Judgement.IN_RANGE
        if number > max(numbers):
            return Judgement.ABOVE
        return Judgement.BELOW if number < min(numbers) else Judgement.OUTSIDE


@dataclass(frozen=True, slots=True)
class Special:
    """Only one who holds the set can judge; by itself it says UNKNOWN."""

    kind: SpecialSet

    def judge(self, value: Value) -> Judgement:  # noqa: ARG002 - the shape of every normal range
        return Judgement.UNKNOWN


NormalRange = AtMost | AtLeast | Between | OneOf | Special


# Every sample of every metric is judged by one of a few hundred texts.
@lru_cache(maxsize=1024)
def parse_normal_range(text: str | None, *, is_text_metric: bool) -> NormalRange | None:
    """None means that the metric is not applicable or has no normal range for the class."""
    if text is None:
        return None
    if any(text == kind.value for kind in SpecialSet):
        return Special(SpecialSet(text))
    if is_text_metric:
        return OneOf(tuple(text.split(",")))
    try:
        return _parse_numeric(text)
    except ValueError as error:
        raise NormalRangeUnreadable(f"expected '<=n', '>=n', 'a..b', 'n' or a list, got {text[:40]!r}") from error


def _parse_numeric(text: str) -> NormalRange:
    if text.startswith("<="):
        return AtMost(float(text[2:]))
    if text.startswith(">="):
        return AtLeast(float(text[2:]))
    if (match := _BETWEEN.fullmatch(text)) is not None:
        return Between(float(match[1]), float(match[2]))
    return OneOf(tuple(float(item) for item in text.split(",")))


def _as_number(value: Value) -> float | None:
    if value is None or isinstance(value, str):
        return None
    number = float(value)
    return None if math.isnan(number) else number
