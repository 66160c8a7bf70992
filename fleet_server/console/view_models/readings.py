"""Readings like a lab report: value, unit, normal range, place in that range, course. Out of range comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from fleet_server.console.language import N_, Language
from fleet_server.console.moments import Calendar, Moment
from fleet_server.console.templating import measured_text, range_text
from fleet_server.console.view_models.charts import Period, Spark, Strip, range_strip, spark_line
from protocol.catalogue import metrics
from protocol.catalogue.metrics import Metric
from protocol.catalogue.normal_range import (
    AtLeast,
    AtMost,
    Between,
    Judgement,
    NormalRange,
    OneOf,
    Special,
    SpecialSet,
    Value,
)
from protocol.catalogue.vocabulary import TerminalClass

SPECIAL_WORDS: Mapping[SpecialSet, str] = {
    SpecialSet.APPROVED: N_("an approved version"),
    SpecialSet.PUBLISHED: N_("the published version"),
    SpecialSet.KNOWN: N_("a known one"),
    SpecialSet.SIM_POOL: N_("a card of ours"),
    SpecialSet.STABLE: N_("does not change"),
    SpecialSet.TWO_REPORT_INTERVALS: N_("within two reports"),
}


# What a support desk asks for first; the others follow by name.
_FIRST = (
    "biz.txn_success_pct",
    "net.rtt_ms",
    "modem.rsrp_dbm",
    "wifi.rssi_dbm",
    "prn.status",
    "sys.clock_drift_s",
    "batt.level_pct",
    "sys.storage_free_pct",
    "sys.mem_avail_pct",
    "biz.offline_pending",
    "cert.tls_days_left",
)
_PLACE = {name: place for place, name in enumerate(_FIRST)}
SHOWN_AT_ONCE = 8


class Latest(Protocol):
    """A newest value (`fleet_server.health.service.Newest`), or what is said live."""

    @property
    def metric(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def number(self) -> float | None: ...
    @property
    def text(self) -> str | None: ...


Points = Sequence[tuple[datetime, float | None]]


class LiveMark(StrEnum):
    """Whether the values are what the device says at this moment."""

    NONE = ""
    ON = "on"
    OVER = "over"  # it is no longer asked, though the page is open


@dataclass(frozen=True, slots=True)
class Reading:
    metric: str
    title: str
    value: str
    unit: str
    normal: str
    is_out: bool
    at: Moment | None
    strip: Strip | None
    spark: Spark | None

    @property
    def slug(self) -> str:
        """Its name as a part of an element's id."""
        return self.metric.replace(".", "-")


@dataclass(frozen=True, slots=True)
class Report:
    """``out``: what deviates, all of it; ``rest``: what is normal or cannot be judged, most asked for first."""

    out: list[Reading]
    rest: list[Reading]
    at: Moment | None
    is_whole: bool
    live: LiveMark = LiveMark.NONE

    @property
    def is_empty(self) -> bool:
        return not (self.out or self.rest)

    @property
    def shown(self) -> list[Reading]:
        return self.out + (self.rest if self.is_whole else self.rest[:SHOWN_AT_ONCE])

    @property
    def more(self) -> int:
        return len(self.out) + len(self.rest) - len(self.shown)


def report(
    latest: Sequence[Latest],
    courses: Mapping[str, Points],
    terminal_class: str,
    calendar: Calendar,
    *,
    is_whole: bool = False,
    period: Period | None = None,
) -> Report:
    """``period``: what the lines of ``courses`` are drawn over."""
    cls = class_of(terminal_class)
    ordered = sorted(latest, key=lambda row: (_PLACE.get(row.metric, len(_PLACE)), row.metric))
    readings = [_reading(row, courses.get(row.metric, ()), cls, calendar, period) for row in ordered]
    newest = max((row.at for row in latest), default=None)
    return Report(
        out=[reading for reading in readings if reading.is_out],
        rest=[reading for reading in readings if not reading.is_out],
        at=calendar.at(newest),
        is_whole=is_whole,
    )


def any_out(latest: Sequence[Latest], terminal_class: str) -> bool:
    cls = class_of(terminal_class)
    return any(_judged(row, cls).is_abnormal for row in latest)


def class_of(name: str) -> TerminalClass:
    return next((one for one in TerminalClass if one.value == name), TerminalClass.TRADITIONAL)


def metric_title(name: str, language: Language) -> str:
    metric = metrics.get(name)
    title = name if metric is None else language.pick(metric.title_zh, metric.title_en)
    return title[:1].upper() + title[1:]


def value_text(name: str, value: Value, language: Language) -> str:
    """A state in words, a number with its separators; an unknown text as it came."""
    metric = metrics.get(name)
    words = None if metric is None else metric.words_for(value)
    if words is not None:
        return language.pick(words.zh, words.en)
    if value is None:
        return "—"
    return value if isinstance(value, str) else measured_text(float(value))


def normal_text(metric: Metric, normal: NormalRange | None, calendar: Calendar) -> str:
    unit = unit_text(metric, calendar.language)
    suffix = f" {unit}" if unit else ""
    match normal:
        case AtMost(limit):
            return range_text(None, limit) + suffix
        case AtLeast(limit):
            return range_text(limit, None) + suffix
        case Between(low, high):
            return range_text(low, high) + suffix
        case OneOf(allowed):
            separator = "、" if calendar.language is Language.ZH else ", "
            return separator.join(value_text(metric.name, item, calendar.language) for item in allowed)
        case Special(kind):
            return calendar.texts.gettext(SPECIAL_WORDS[kind])
        case None:
            return ""


def unit_text(metric: Metric, language: Language) -> str:
    if metric.is_text or metric.value_words:
        return ""
    # A count of pieces has a measure word in Chinese and none in English.
    return metric.unit_words.zh if language is Language.ZH else metric.unit_words.en


def _judged(row: Latest, cls: TerminalClass) -> Judgement:
    metric = metrics.get(row.metric)
    return Judgement.UNKNOWN if metric is None else metric.judge(row.text if row.number is None else row.number, cls)


def _reading(row: Latest, points: Points, cls: TerminalClass, calendar: Calendar, period: Period | None) -> Reading:
    language = calendar.language
    value: Value = row.text if row.number is None else row.number
    metric = metrics.get(row.metric)
    if metric is None:
        return Reading(
            row.metric,
            row.metric,
            value_text(row.metric, value, language),
            "",
            "",
            False,
            calendar.at(row.at),
            None,
            None,
        )
    normal = metric.normal(cls)
    judgement = _judged(row, cls)
    is_known_number = row.number is not None and judgement is not Judgement.UNKNOWN
    return Reading(
        metric=row.metric,
        title=metric_title(row.metric, language),
        value=value_text(row.metric, value, language),
        unit=unit_text(metric, language),
        normal=normal_text(metric, normal, calendar),
        is_out=judgement.is_abnormal,
        at=calendar.at(row.at),
        strip=range_strip(normal, row.number, metric.range) if is_known_number and row.number is not None else None,
        spark=None if period is None else spark_line(points, normal, period),
    )
