"""The metrics a terminal can report: title, unit, range, and what is normal for each class of terminal.

Loaded on first use. Words for states (`paper_out`) and units (`count/24h`) stand in both languages beside the metric,
so that a page shows them and never the wire value. Judging is `normal_range`'s part.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, NewType

import msgspec

from protocol.catalogue.normal_range import Judgement, NormalRange, Value, parse_normal_range
from protocol.catalogue.resources import read_data
from protocol.catalogue.sides import Side, follow
from protocol.catalogue.vocabulary import TerminalClass

if TYPE_CHECKING:
    from collections.abc import Mapping

MetricName = NewType("MetricName", str)

_TEXT_UNITS = frozenset({"enum", "string", "hex"})


class MetricType(Enum):
    GAUGE = "gauge"
    COUNTER = "counter"
    STATE = "state"
    INFO = "info"


class Words(msgspec.Struct, frozen=True):
    zh: str
    en: str


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    name: MetricName
    title_zh: str
    title_en: str
    unit: str  # as in the sources; `unit_words` is for people
    unit_words: Words
    type: MetricType
    range: str  # the possible values, as written in the sources
    normal_text: dict[TerminalClass, str | None]  # as written in the sources; `normal` has it parsed
    applies_to: tuple[TerminalClass, ...]
    source: str
    note: str | None = None
    value_words: dict[str, Words] = {}
    unknown_values: tuple[float, ...] = ()  # numbers that mean "not known", such as CSQ 99

    @property
    def is_text(self) -> bool:
        return self.unit in _TEXT_UNITS

    def normal(self, terminal_class: TerminalClass) -> NormalRange | None:
        return parse_normal_range(self.normal_text.get(terminal_class), is_text_metric=self.is_text)

    def judge(self, value: Value, terminal_class: TerminalClass) -> Judgement:
        normal = self.normal(terminal_class)
        if normal is None or value in self.unknown_values:
            return Judgement.UNKNOWN
        return normal.judge(value)

    def follow(self, before: Side | None, value: Value, terminal_class: TerminalClass, at_ms: int) -> Side | None:
        """On which side of its normal range the metric stands after this sample (`protocol.catalogue.sides`)."""
        normal = self.normal(terminal_class)
        return before if normal is None or value in self.unknown_values else follow(before, normal, value, at_ms)

    def words_for(self, value: Value) -> Words | None:
        """The state in words, or None for a number or a free text."""
        if value is None:
            return None
        key = value if isinstance(value, str) else f"{float(value):g}"
        return self.value_words.get(key)


def get(name: str) -> Metric | None:
    return _load().get(name)


def all() -> tuple[Metric, ...]:  # noqa: A001 - reads as metrics.all() at the call
    return tuple(_load().values())


def for_class(terminal_class: TerminalClass) -> tuple[Metric, ...]:
    return tuple(metric for metric in _load().values() if terminal_class in metric.applies_to)


@cache
def _load() -> Mapping[str, Metric]:
    rows = msgspec.json.decode(read_data("metrics") or b"[]", type=list[Metric])
    return {row.name: row for row in rows}
