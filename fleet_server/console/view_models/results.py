"""One result: what was looked at, what came, what was required, and the evidence folded under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fleet_server.console.language import Language
from fleet_server.console.moments import Calendar
from fleet_server.console.templating import range_text
from fleet_server.console.view_models.codes import CodeText, code_text
from fleet_server.console.view_models.readings import metric_title, value_text
from fleet_server.console.words import ITEMS, OUTCOMES, UNKNOWN_SHAPE, VALUES, Shape
from protocol.catalogue import metrics
from protocol.catalogue.metrics import Words
from protocol.records import Outcome, Phase

# A tenth of a second is nothing that a person waits for.
SHOWN_FROM_MS = 50


@dataclass(frozen=True, slots=True)
class ResultRow:
    phase: Phase
    item: str
    title: str
    shape: Shape
    value: str
    unit: str
    limits: str
    evidence: str
    codes: list[CodeText]
    takes: str


def result_row(data: Mapping[str, Any], calendar: Calendar, titles: Mapping[str, str]) -> ResultRow:
    """From the data of a `verdict` event."""
    item = str(data.get("item") or "")
    metric = item.rpartition(" ")[2]
    action = str(data.get("action") or "")
    outcome = next((one for one in Outcome if one.value == data.get("outcome")), None)
    value = shown_value(data.get("value"))
    codes = data.get("codes")
    duration = data.get("duration_ms")
    unit = _unit(metric, data, calendar)
    limits = limits_text(data.get("limits"))
    return ResultRow(
        phase=next((one for one in Phase if one.value == data.get("phase")), Phase.RESULT),
        item=item,
        title=_title(item, action, titles, calendar),
        shape=UNKNOWN_SHAPE if outcome is None else OUTCOMES[outcome],
        value="" if value is None else _value(metric, value, calendar),
        unit=unit,
        limits=f"{limits} {unit}".rstrip() if limits else "",
        evidence=str(data.get("evidence") or ""),
        codes=[code_text(str(code), calendar.language) for code in codes] if isinstance(codes, list) else [],
        takes=f"{duration / 1000:.1f} s" if isinstance(duration, int) and duration >= SHOWN_FROM_MS else "",
    )


def shown_value(value: Any) -> float | int | str | None:
    """What a sample may be; anything else was never measured."""
    return value if isinstance(value, int | float | str) else None


def limits_text(limits: Any) -> str:
    if not isinstance(limits, dict):
        return ""
    low, high = limits.get("low"), limits.get("high")
    return range_text(
        float(low) if isinstance(low, int | float) else None, float(high) if isinstance(high, int | float) else None
    )


def _title(item: str, action: str, titles: Mapping[str, str], calendar: Calendar) -> str:
    if not item:
        return titles.get(action) or action
    # A full check names the check before the item of it.
    check, _, part = item.partition(" ")
    if check in titles and part:
        return f"{titles[check]} · {_item_title(part, calendar)}"
    return titles.get(item) or _item_title(item, calendar)


def _item_title(item: str, calendar: Calendar) -> str:
    if metrics.get(item) is not None:
        return metric_title(item, calendar.language)
    return calendar.texts.gettext(ITEMS[item]) if item in ITEMS else item


def _value(name: str, value: float | str, calendar: Calendar) -> str:
    if metrics.get(name) is None and isinstance(value, str) and value in VALUES:
        return calendar.texts.gettext(VALUES[value])
    return value_text(name, value, calendar.language)


def _unit(name: str, data: Mapping[str, Any], calendar: Calendar) -> str:
    metric = metrics.get(name)
    if metric is not None and (metric.is_text or metric.value_words):
        return ""
    unit = str(data.get("unit") or "")
    words = metric.unit_words if metric is not None and metric.unit == unit else _units().get(unit)
    if words is None:
        return unit
    return words.zh if calendar.language is Language.ZH else words.en


@cache
def _units() -> dict[str, Words]:
    """Words for the units of the catalogue. A bare count has none: its measure word belongs to what is counted."""
    words = {metric.unit: metric.unit_words for metric in metrics.all()}
    return words | {"count": Words("", "")}
