"""Health samples, written down in the caller's transaction: a block as it came, the latest value of each metric, and an
event when a metric left its normal range for good or came back to it (`protocol.catalogue.sides`).

Invariant: a latest value is never replaced by an older one, in whatever order blocks arrive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from math import inf
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from fleet_server.health.blocks import pack
from fleet_server.health.models import HealthBlock, LatestValue
from fleet_server.kit import bulk
from fleet_server.kit.times import from_ms, to_ms
from fleet_server.timeline.writer import NewEvent
from protocol.catalogue import metrics
from protocol.catalogue.normal_range import AtLeast, AtMost, Between, NormalRange, Value
from protocol.catalogue.sides import Side
from protocol.catalogue.vocabulary import TerminalClass
from protocol.records import HealthColumns

_BLOCK = HealthBlock.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_LATEST = LatestValue.__table__  # type: ignore[attr-defined]  # as above
_LATEST_CONFLICT = bulk.OnConflict(
    ("device_id", "metric"), ("at", "number", "text", "is_abnormal", "crossed_at"), newer="at"
)
# A metric that flaps within one block is told by its first changes; the block has the rest.
MAX_CHANGES_PER_BLOCK = 8
# Where nothing can have happened as long as every sample is within the range.
_AT_EASE = (None, Side(is_abnormal=False))
_CLASSES: dict[str, TerminalClass] = {one.value: one for one in TerminalClass}


Column = Sequence[float | int | str | None]


@dataclass(frozen=True, slots=True)
class HealthReport:
    """``start_at``: of the first sample, by our clock."""

    device_id: str
    terminal_class: str
    link_id: str
    stream: str
    seq: int
    start_at: datetime
    body: HealthColumns


@dataclass(frozen=True, slots=True)
class _Sample:
    at: datetime
    value: float | int | str
    side: Side | None = None


def apply_health(session: Session, tenant_id: str, reports: Sequence[HealthReport], now: datetime) -> list[NewEvent]:
    """The events. Only reports that were not applied before."""
    if not reports:
        return []
    bulk.write(session, _BLOCK, [_block_row(tenant_id, report, now) for report in reports])
    before = _read_latest(session, reports)
    latest = dict(before)
    events: list[NewEvent] = []
    for report in sorted(reports, key=lambda one: (one.start_at, one.seq)):
        events += _take(latest, report, now)
    rows = [
        _latest_row(tenant_id, device, metric, sample)
        for (device, metric), sample in sorted(latest.items())
        if before.get((device, metric)) is not sample
    ]
    bulk.write(session, _LATEST, rows, _LATEST_CONFLICT)
    return events


def _take(latest: dict[tuple[str, str], _Sample], report: HealthReport, now: datetime) -> list[NewEvent]:
    """Moves the latest values on, and tells when one of them changed sides of its normal range."""
    changes = _Changes()
    for metric, column in report.body.columns.items():
        if metrics.get(metric) is None:
            # The block keeps it; a device cannot make rows of names that it invents.
            continue
        last = latest.get((report.device_id, metric))
        normal = _normal(metric, report.terminal_class)
        if (last is None or last.side in _AT_EASE) and _is_calm(normal, column):
            samples = _last_sample(report, column, now)
        else:
            samples = _samples(report, column, now)
        for sample in samples:
            if last is not None and sample.at < last.at:
                continue
            side = None if last is None else last.side
            new_side = _followed(side, metric, report.terminal_class, sample)
            # The first value ever is told only when it is not as it should be.
            if new_side is not None and new_side.is_abnormal != (side is not None and side.is_abnormal):
                changes.add(sample.at, metric, sample.value, is_normal=not new_side.is_abnormal)
            last = replace(sample, side=new_side)
        if last is not None:
            latest[report.device_id, metric] = last
    return changes.events(report.device_id)


class _Changes:
    """Metrics that changed sides, by when they did."""

    def __init__(self) -> None:
        self._values: defaultdict[datetime, dict[str, Value]] = defaultdict(dict)
        self._abnormal: defaultdict[datetime, list[str]] = defaultdict(list)

    def add(self, at: datetime, metric: str, value: Value, *, is_normal: bool) -> None:
        self._values[at][metric] = value
        if not is_normal:
            self._abnormal[at].append(metric)

    def events(self, device_id: str) -> list[NewEvent]:
        return [
            NewEvent(device_id, "reading", at, {"metrics": self._values[at], "abnormal": self._abnormal.get(at, [])})
            for at in sorted(self._values)[:MAX_CHANGES_PER_BLOCK]
        ]


def _samples(report: HealthReport, column: Column, now: datetime) -> Iterator[_Sample]:
    step = timedelta(milliseconds=report.body.step_ms)
    for place, value in enumerate(column):
        if value is not None:
            yield _Sample(min(report.start_at + step * place, now), value)


def _last_sample(report: HealthReport, column: Column, now: datetime) -> Iterator[_Sample]:
    step = timedelta(milliseconds=report.body.step_ms)
    for place in range(len(column) - 1, -1, -1):
        value = column[place]
        if value is not None:
            yield _Sample(min(report.start_at + step * place, now), value)
            return


def _is_calm(normal: NormalRange | None, column: Column) -> bool:
    """Whether a glance at the extremes shows that nothing can have happened: nearly every column is like that."""
    match normal:
        case None:
            return True
        case AtMost(limit):
            low, high = -inf, limit
        case AtLeast(limit):
            low, high = limit, inf
        case Between(low, high):
            pass
        case _:
            return False
    numbers = [value for value in column if value is not None]
    if any(isinstance(value, str) for value in numbers):
        return False
    return not numbers or (low <= min(numbers) and max(numbers) <= high)  # type: ignore[operator]  # texts were just excluded


def _followed(side: Side | None, metric: str, terminal_class: str, sample: _Sample) -> Side | None:
    known, of_class = metrics.get(metric), _CLASSES.get(terminal_class)
    if known is None or of_class is None:
        return side
    return known.follow(side, sample.value, of_class, to_ms(sample.at))


@lru_cache(maxsize=1024)
def _normal(metric: str, terminal_class: str) -> NormalRange | None:
    known, of_class = metrics.get(metric), _CLASSES.get(terminal_class)
    return None if known is None or of_class is None else known.normal(of_class)


def _read_latest(session: Session, reports: Sequence[HealthReport]) -> Mapping[tuple[str, str], _Sample]:
    devices = sorted({report.device_id for report in reports})
    rows = session.execute(
        select(
            _LATEST.c.device_id,
            _LATEST.c.metric,
            _LATEST.c.at,
            _LATEST.c.number,
            _LATEST.c.text,
            _LATEST.c.is_abnormal,
            _LATEST.c.crossed_at,
        ).where(_LATEST.c.device_id.in_(devices))
    )
    return {
        (device, metric): _Sample(at, number if text is None else text, _stored_side(is_abnormal, crossed_at))
        for device, metric, at, number, text, is_abnormal, crossed_at in rows
    }


def _stored_side(is_abnormal: bool | None, crossed_at: datetime | None) -> Side | None:  # noqa: FBT001 - a column
    return None if is_abnormal is None else Side(is_abnormal, None if crossed_at is None else to_ms(crossed_at))


def _block_row(tenant_id: str, report: HealthReport, now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "link_id": report.link_id,
        "stream": report.stream,
        "seq": report.seq,
        "device_id": report.device_id,
        "start_at": report.start_at,
        "step_ms": report.body.step_ms,
        "steps": report.body.steps,
        "columns": pack(report.body.columns),
        "received_at": now,
    }


def _latest_row(tenant_id: str, device_id: str, metric: str, sample: _Sample) -> dict[str, Any]:
    is_text = isinstance(sample.value, str)
    side = sample.side
    return {
        "device_id": device_id,
        "metric": metric,
        "tenant_id": tenant_id,
        "at": sample.at,
        "number": None if is_text else float(sample.value),
        "text": sample.value if is_text else None,
        "is_abnormal": None if side is None else side.is_abnormal,
        "crossed_at": None if side is None or side.crossed_ms is None else from_ms(side.crossed_ms),
    }
