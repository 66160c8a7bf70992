"""What a symptom of the fault model looks like on a device: a reading past a limit, or a code that is present.

The fault model says it in words such as `modem.rsrp_dbm < -112`; here it becomes a value that such a device would show.
What needs other devices, a merchant or the server's records (`published`, peers) cannot be shown and is None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from protocol.catalogue import faults, metrics
from protocol.catalogue.normal_range import AtMost
from protocol.catalogue.vocabulary import TerminalClass

_COMPARISON = re.compile(r"(abs\()?([a-z0-9_.]+)\)? (<|>|>=|==|!=|in) (.+)")
_CODE = re.compile(r"[a-z0-9]+\.[A-Za-z0-9_.+-]+")


@dataclass(frozen=True, slots=True)
class ShowsReading:
    metric: str
    value: float | int | str


@dataclass(frozen=True, slots=True)
class ShowsCode:
    code: str


Observation = ShowsReading | ShowsCode


@cache
def observe(symptom_id: str, terminal_class: TerminalClass) -> tuple[Observation, ...]:
    """How the symptom shows on this class; empty when it cannot."""
    model = faults.load()
    symptom = model.symptoms.get(faults.SymptomId(symptom_id))
    if symptom is None or symptom.id in model.not_applicable.get(terminal_class, ()):
        return ()
    if symptom.kind is faults.SymptomKind.CODE:
        return (ShowsCode(symptom.observe),) if _CODE.fullmatch(symptom.observe) else ()
    if symptom.kind is not faults.SymptomKind.METRIC:
        return ()
    shown = [_comparison(part, terminal_class) for part in symptom.observe.split(" and ")]
    return tuple(each for each in shown if each is not None)


def _comparison(text: str, terminal_class: TerminalClass) -> ShowsReading | None:
    match = _COMPARISON.fullmatch(text)
    metric = metrics.get(match[2]) if match else None
    if match is None or metric is None or terminal_class not in metric.applies_to:
        return None
    value = _value(match[3], match[4], metric, terminal_class)
    return None if value is None else ShowsReading(metric.name, value)


def _value(operator: str, limit: str, metric: metrics.Metric, of_class: TerminalClass) -> float | int | str | None:
    if operator == "in":
        return int(limit.strip("[]").split(",")[-1])
    if operator == "==":
        return int(limit) if limit.isdigit() else limit
    if operator == "!=":
        return "no_tpk" if limit == "all" else None
    number = _limit(limit, metric.normal_text.get(of_class))
    if number is None:
        return None
    # The model's limit is one for all; a class may bear more.
    normal = metric.normal(of_class)
    if operator == ">" and isinstance(normal, AtMost):
        number = max(number, normal.limit)
    past = _past(operator, number, metric.unit)
    return int(past) if metric.unit.startswith("count") or past == int(past) else round(past, 1)


def _past(operator: str, limit: float, unit: str) -> float:
    """A value plainly past the limit, and still one that the unit allows."""
    if operator == "<":
        return limit - max(abs(limit) * 0.08, 1.0)
    if unit == "%":
        return limit + (100 - limit) * 0.4
    if unit == "degC":
        return limit + 6
    return limit * (1.02 if operator == ">=" else 1.3) + 1


def _limit(text: str, normal: str | None) -> float | None:
    """A number, or a factor of the class's own figure: `0.9 x nominal`, `4 x class limit`."""
    factor, _, of_class = text.partition(" x ")
    try:
        number = float(factor)
        if not of_class:
            return number
        # "nominal" stands in the middle of the normal range, a "class limit" is its only bound.
        bounds = [float(bound) for bound in (normal or "").strip("<>=").split("..")]
        return number * sum(bounds) / len(bounds)
    except ValueError:
        return None
