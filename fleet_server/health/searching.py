"""Searching the fleet by newest values: ``modem.csq<10``, ``batt.level_pct < 20``, ``sys.state=idle``.

Intervals find candidates by an index, the newest value itself decides (`fleet_server.health.latest`). Made for one
tenant; what comes out is a query for ids of devices, to be joined by whoever lists devices.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, and_, case, cast, func, select
from sqlmodel import Session

from fleet_server.errors import FleetError
from fleet_server.health.models import DeviceHealth, ValueInterval

MAX_CONDITIONS = 4
MAX_CHARS = 200
_HEALTH = DeviceHealth.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_INTERVAL = ValueInterval.__table__  # type: ignore[attr-defined]  # as above
METRIC_NAME = r"[a-z0-9][a-z0-9_.]{0,63}"
_CONDITION = re.compile(rf"\s*({METRIC_NAME})\s*(<=|>=|<|>|=)\s*([^\s,;<>=][^,;<>=]{{0,63}}?)\s*")
_BETWEEN = re.compile(r"[,;\n]|\s+(?=[a-z0-9_.]+\s*[<>=])")
# As a Chinese keyboard writes them.
_PLAIN = str.maketrans({"＜": "<", "＞": ">", "＝": "=", "≤": "<=", "≥": ">=", "，": ",", "；": ",", "．": "."})
# Of `fleet_server.health.latest.Entry`.
_VALUE_PLACE = 1


class ConditionUnreadable(FleetError):
    code = "condition_unreadable"
    status = 422


class Comparison(StrEnum):
    BELOW = "<"
    AT_MOST = "<="
    ABOVE = ">"
    AT_LEAST = ">="
    EQUAL = "="


@dataclass(frozen=True, slots=True)
class Condition:
    metric: str
    comparison: Comparison
    value: float | str

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:g}"
        return f"{self.metric}{self.comparison}{value}"


def read_conditions(texts: Sequence[str]) -> tuple[Condition, ...]:
    """Of one or more texts, in which conditions are separated by commas or spaces. Raises ``ConditionUnreadable``."""
    pieces = [piece for text in texts for piece in _BETWEEN.split(text[:MAX_CHARS].translate(_PLAIN)) if piece.strip()]
    if len(pieces) > MAX_CONDITIONS:
        raise ConditionUnreadable(f"expected at most {MAX_CONDITIONS} conditions, came {len(pieces)}")
    return tuple(map(_read, pieces))


class HealthSearch:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def devices(self, conditions: Sequence[Condition]) -> tuple[Select[tuple[str]], ...]:
        """For each condition a query for the ids of the devices whose newest value of the metric is like that."""
        return tuple(map(self._where, conditions))

    def _where(self, condition: Condition) -> Select[tuple[str]]:
        ours = (_INTERVAL.c.tenant_id == self._tenant_id, _INTERVAL.c.metric == condition.metric)
        if isinstance(condition.value, str):
            return select(_INTERVAL.c.device_id).where(*ours, _INTERVAL.c.text == condition.value)
        value = newest_number(self._session, condition.metric)
        may_be, is_so = _compared(condition.comparison, condition.value, value)
        joined = _INTERVAL.join(_HEALTH, _HEALTH.c.device_id == _INTERVAL.c.device_id)
        return select(_INTERVAL.c.device_id).select_from(joined).where(*ours, may_be, is_so)


def newest_number(session: Session, metric: str) -> ColumnElement[Any]:
    """Of a row of `DeviceHealth`; null where it is a text or was never measured. The name is a `METRIC_NAME`."""
    if session.get_bind().dialect.name == "postgresql":
        return _number_in_text(metric)
    place = f'$."{metric}"[{_VALUE_PLACE}]'
    kind = func.json_type(_HEALTH.c.latest, place)
    return case((kind.in_(("integer", "real")), func.json_extract(_HEALTH.c.latest, place)))


def _number_in_text(metric: str) -> ColumnElement[Any]:
    """To parse the whole document for each value would take four times as long. As msgspec writes it, without spaces,
    the entry of a metric begins in one way only: within a text its quotes would be escaped.
    """
    entry = func.split_part(_HEALTH.c.latest, f'"{metric}":[', 2)
    value = func.split_part(entry, ",", _VALUE_PLACE + 1)
    # Of a text, which begins with a quote, nothing is left.
    return cast(func.substring(value, "^-?[0-9][0-9.eE+-]*"), Float)


def _read(text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ConditionUnreadable(f"expected METRIC<NUMBER such as modem.csq<10, came {text[:80]!r}")
    comparison = Comparison(found[2])
    try:
        number = float(found[3])
    except ValueError:
        if comparison is not Comparison.EQUAL:
            raise ConditionUnreadable(f"expected a number after {found[2]}, came {found[3]!r}") from None
        return Condition(found[1], comparison, found[3])
    if not isfinite(number):
        raise ConditionUnreadable(f"expected a number after {found[2]}, came {found[3]!r}")
    return Condition(found[1], comparison, number)


def _compared(
    comparison: Comparison, limit: float, value: ColumnElement[Any]
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """What the interval must be like for the value to be, and what the value must be."""
    low, high = _INTERVAL.c.low, _INTERVAL.c.high
    match comparison:
        case Comparison.BELOW:
            return low < limit, value < limit
        case Comparison.AT_MOST:
            return low <= limit, value <= limit
        case Comparison.ABOVE:
            return high > limit, value > limit
        case Comparison.AT_LEAST:
            return high >= limit, value >= limit
        case Comparison.EQUAL:
            return and_(low <= limit, high >= limit), value == limit
