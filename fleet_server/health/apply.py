"""Health samples, written down in the caller's transaction: a block as it came, the latest value of each metric, and an
event when a metric left its normal range for good or came back to it (`protocol.catalogue.sides`).

Invariant: a latest value is never replaced by an older one, in whatever order blocks arrive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlmodel import Session

from fleet_server.health import latest
from fleet_server.health.flush_columns import FlushColumns, class_of, gather, normal_of
from fleet_server.health.latest import Entry, Held, Value
from fleet_server.health.models import HealthBlock
from fleet_server.health.packing import Floats
from fleet_server.kit import bulk
from fleet_server.kit.times import from_ms, to_ms
from fleet_server.timeline.writer import NewEvent
from protocol.catalogue import metrics
from protocol.catalogue.sides import Side
from protocol.records import HealthColumns

_BLOCK = HealthBlock.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_OWNER_NAMES = ("tenant_id", "link_id", "stream", "seq", "device_id")
_BLOCK_NAMES = (*_OWNER_NAMES, "start_at", "step_ms", "steps", "columns", "received_at")
# A metric that flaps within one block is told by its first changes; the block has the rest.
MAX_CHANGES_PER_BLOCK = 8


@dataclass(frozen=True, slots=True)
class HealthReport:
    """``start_at``: of the first sample, by our clock. ``numbers``: the samples of all columns, one after the other,
    when they are numbers alone.
    """

    device_id: str
    terminal_class: str
    link_id: str
    stream: str
    seq: int
    start_at: datetime
    body: HealthColumns
    numbers: Floats | None = field(default=None, compare=False, repr=False)


def apply_health(session: Session, tenant_id: str, reports: Sequence[HealthReport], now: datetime) -> list[NewEvent]:
    """The events. Only reports that were not applied before."""
    if not reports:
        return []
    ordered = sorted(reports, key=lambda one: (one.start_at, one.seq))
    columns = gather([report.body for report in ordered], [report.numbers for report in ordered])
    held = latest.hold(session, tenant_id, {report.device_id for report in ordered})
    blocks = zip(ordered, columns.pack(), strict=True)
    rows = [_block_row(tenant_id, report, packed, now) for report, packed in blocks]
    bulk.insert_tuples(session, _BLOCK, _BLOCK_NAMES, rows)
    events = _take(held, ordered, columns, now)
    latest.save(session, tenant_id, held)
    return events


def _take(
    held: Mapping[str, Held], reports: Sequence[HealthReport], columns: FlushColumns, now: datetime
) -> list[NewEvent]:
    """Moves the latest values on, and tells when one of them changed sides of its normal range.

    Of a metric that stayed where it should be the newest sample is all that matters, and nearly all do; the others are
    gone through sample by sample.
    """
    now_ms = to_ms(now)
    begins_ms = [to_ms(report.start_at) for report in reports]
    walked: defaultdict[str, set[str]] = defaultdict(set)
    for report, odd in zip(reports, columns.odd, strict=True):
        held[report.device_id].add_block(report.start_at, now)
        if odd:
            walked[report.device_id].update(odd)
    devices, classes = [one.device_id for one in reports], [one.terminal_class for one in reports]
    for place, metric, at_ms, value, is_calm in columns.newest(devices, classes, begins_ms, now_ms):
        report = reports[place]
        is_walked = not is_calm or metric in walked.get(report.device_id, ())
        if is_walked or not _take_newest(held[report.device_id], report.terminal_class, metric, at_ms, value):
            walked[report.device_id].add(metric)
    events: list[NewEvent] = []
    for report, start_ms in zip(reports, begins_ms, strict=True) if walked else ():
        if report.device_id in walked:
            events += _walk(held[report.device_id], report, start_ms, now_ms, walked[report.device_id])
    return events


def _take_newest(held: Held, terminal_class: str, metric: str, at_ms: int, value: Value) -> bool:
    """Whether that was all; otherwise the metric was not as it should be before, and each sample matters."""
    entry = held.entries.get(metric)
    if entry is None or entry.abnormal is None:
        if metrics.get(metric) is not None:
            _follow(held, metric, terminal_class, [(at_ms, value)], _Changes())
        return True
    if entry.abnormal or entry.crossed_ms:
        return False
    if at_ms >= entry.at_ms:
        before, entry.at_ms, entry.value = entry.value, at_ms, value
        if not entry.holds(value):
            held.settle(metric, before)
    return True


def _walk(held: Held, report: HealthReport, start_ms: int, now_ms: int, wanted: Collection[str]) -> list[NewEvent]:
    """The columns of a report sample by sample, but for names that a device invented: it cannot make rows of them."""
    changes = _Changes()
    for metric, column in report.body.columns.items():
        if metric in wanted and metrics.get(metric) is not None:
            step_ms = report.body.step_ms
            samples = [(min(start_ms + step_ms * place, now_ms), value) for place, value in enumerate(column)]
            _follow(held, metric, report.terminal_class, samples, changes)
    return changes.events(report.device_id)


def _follow(
    held: Held, metric: str, terminal_class: str, samples: Sequence[tuple[int, Value | None]], changes: _Changes
) -> None:
    entry = held.entries.get(metric)
    before = None if entry is None else entry.value
    for at_ms, value in samples:
        if value is None or (entry is not None and at_ms < entry.at_ms):
            continue
        side = None if entry is None else entry.side
        new_side = _followed(side, metric, terminal_class, value, at_ms)
        # The first value ever is told only when it is not as it should be.
        if new_side is not None and new_side.is_abnormal != (side is not None and side.is_abnormal):
            changes.add(at_ms, metric, value, is_normal=not new_side.is_abnormal)
        if entry is None:
            entry = held.entries[metric] = Entry(at_ms, value)
        entry.move(at_ms, value, new_side)
    if entry is not None:
        held.settle(metric, before)


class _Changes:
    """Metrics that changed sides, by when they did."""

    def __init__(self) -> None:
        self._values: defaultdict[int, dict[str, Value]] = defaultdict(dict)
        self._abnormal: defaultdict[int, list[str]] = defaultdict(list)

    def add(self, at_ms: int, metric: str, value: Value, *, is_normal: bool) -> None:
        self._values[at_ms][metric] = value
        if not is_normal:
            self._abnormal[at_ms].append(metric)

    def events(self, device_id: str) -> list[NewEvent]:
        return [
            NewEvent(
                device_id,
                "reading",
                from_ms(at_ms),
                {"metrics": self._values[at_ms], "abnormal": self._abnormal.get(at_ms, [])},
            )
            for at_ms in sorted(self._values)[:MAX_CHANGES_PER_BLOCK]
        ]


def _followed(side: Side | None, metric: str, terminal_class: str, value: Value, at_ms: int) -> Side | None:
    known, of_class = metrics.get(metric), class_of(terminal_class)
    if known is None or of_class is None or not _has_sides(metric, terminal_class):
        return side
    return known.follow(side, value, of_class, at_ms)


@lru_cache(maxsize=1024)
def _has_sides(metric: str, terminal_class: str) -> bool:
    return normal_of(metric, terminal_class) is not None


def _block_row(tenant_id: str, report: HealthReport, packed: bytes, now: datetime) -> tuple[Any, ...]:
    body = report.body
    owner = (tenant_id, report.link_id, report.stream, report.seq, report.device_id)
    return (*owner, report.start_at, body.step_ms, body.steps, packed, now)
