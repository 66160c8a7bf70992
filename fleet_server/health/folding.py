"""Folding: blocks that are in no rollup yet go into those of five minutes, hours and days, once each.

A chore of the scheduler. A device's row is held meanwhile, so that no block is added between reading them and noting
the last that was taken (`fleet_server.health.models`). Whoever reads rollups adds what is not folded yet
(`fleet_server.health.service`), so nothing waits for this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import structlog
from sqlalchemy import Row, Table, and_, func, null, select, update
from sqlmodel import Session

from fleet_server.health.models import DeviceHealth, HealthBlock, HealthDays, HealthFiveMinutes, HealthHours
from fleet_server.health.packing import Floats, Ints
from fleet_server.health.rollups import Buckets, Level, merged, of_samples, pack_rows, unpack_rows
from fleet_server.health.unpacking import unpack_many
from fleet_server.kit import bulk
from fleet_server.kit.lookup import among
from fleet_server.kit.times import from_ms, to_ms

# Devices and blocks of one transaction: some tens of milliseconds.
DEVICES = 50
BLOCKS = 2000
_HEALTH = DeviceHealth.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_BLOCK = HealthBlock.__table__  # type: ignore[attr-defined]  # as above
TABLES: Mapping[Level, Table] = {
    Level.FIVE_MINUTES: HealthFiveMinutes.__table__,  # type: ignore[attr-defined]  # as above
    Level.HOUR: HealthHours.__table__,  # type: ignore[attr-defined]  # as above
    Level.DAY: HealthDays.__table__,  # type: ignore[attr-defined]  # as above
}
_CONFLICT = bulk.OnConflict(("device_id", "span_at"), ("packed",))
# Rows of one question: SQLite counts parameters.
_KEYS = 400
_log = structlog.get_logger(__name__)

Key = tuple[str, datetime]  # device, span


@dataclass(frozen=True, slots=True)
class Folded:
    """``more``: others are due."""

    blocks: int
    more: bool


@dataclass(frozen=True, slots=True)
class Samples:
    """Of many blocks. ``names``: what the numbers in ``series`` stand for, in the order of device and metric."""

    names: list[tuple[str, str]]
    series: Ints
    at_ms: Ints
    values: Floats


def fold_due(session: Session, tenant_id: str, now: datetime) -> Folded:
    due = (
        select(_HEALTH.c.device_id)
        .where(_HEALTH.c.tenant_id == tenant_id, _HEALTH.c.fold_at <= now)
        .order_by(_HEALTH.c.fold_at)
        .limit(DEVICES)
    )
    # Oldest first, but held in the order of ids as everywhere.
    held = select(_HEALTH.c.device_id).where(_HEALTH.c.device_id.in_(list(session.execute(due).scalars())))
    ids = list(session.execute(held.order_by(_HEALTH.c.device_id).with_for_update(skip_locked=True)).scalars())
    if not ids:
        return Folded(0, more=False)
    blocks = _unfolded(session, ids)
    taken = samples_of((block.device_id, block) for block in blocks)
    for level, buckets in levels_of(taken).items():
        _add(session, tenant_id, level, taken.names, buckets)
    # The last device's blocks may go on beyond the limit.
    whole = ids if len(blocks) < BLOCKS else [id_ for id_ in ids if id_ < blocks[-1].device_id]
    _note(session, blocks, whole)
    return Folded(len(blocks), more=len(ids) == DEVICES or len(blocks) == BLOCKS)


class Block(Protocol):
    @property
    def start_at(self) -> datetime: ...
    @property
    def step_ms(self) -> int: ...
    @property
    def columns(self) -> bytes: ...


def samples_of(blocks: Iterable[tuple[str, Block]], wanted: Collection[str] | None = None) -> Samples:
    """Numbers only. A block that is damaged is left out and told to the log."""
    given = list(blocks)
    found = unpack_many([block.columns for _, block in given], wanted)
    for place in found.damaged:
        device_id, block = given[place]
        _log.error("a block of samples is damaged", device=device_id, start_at=block.start_at)
    devices = sorted({device_id for device_id, _ in given})
    metrics = sorted(found.numbers)
    if not metrics:
        return Samples([], np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    number_of = {device_id: number for number, device_id in enumerate(devices)}
    device = np.array([number_of[device_id] for device_id, _ in given], dtype=np.int64)
    start_ms = np.array([to_ms(block.start_at) for _, block in given], dtype=np.int64)
    step_ms = np.array([block.step_ms for _, block in given], dtype=np.int64)
    columns = [found.numbers[metric] for metric in metrics]
    keys = np.concatenate([device[one.blocks] * len(metrics) + place for place, one in enumerate(columns)])
    known, series = np.unique(keys, return_inverse=True)
    return Samples(
        [(devices[key // len(metrics)], metrics[key % len(metrics)]) for key in known.tolist()],
        np.repeat(series, np.concatenate([one.lengths for one in columns])),
        np.concatenate([one.spread(start_ms) + one.places * one.spread(step_ms) for one in columns]),
        np.concatenate([one.values for one in columns]),
    )


def levels_of(samples: Samples) -> dict[Level, Buckets]:
    """Hours are made of the five minutes, days of the hours."""
    fine = of_samples(samples.series, samples.at_ms, samples.values, Level.FIVE_MINUTES.bucket_ms)
    hours = fine.coarser(Level.HOUR.bucket_ms // Level.FIVE_MINUTES.bucket_ms)
    return {
        Level.FIVE_MINUTES: fine,
        Level.HOUR: hours,
        Level.DAY: hours.coarser(Level.DAY.bucket_ms // Level.HOUR.bucket_ms),
    }


def _unfolded(session: Session, ids: Sequence[str]) -> Sequence[Row[Any]]:
    columns = (_BLOCK.c.id, _BLOCK.c.device_id, _BLOCK.c.start_at, _BLOCK.c.step_ms, _BLOCK.c.columns)
    belongs = and_(
        _BLOCK.c.device_id == _HEALTH.c.device_id,
        _BLOCK.c.start_at >= _HEALTH.c.unfolded_since,
        _BLOCK.c.id > _HEALTH.c.folded_id,
    )
    statement = select(*columns).select_from(_HEALTH).join(_BLOCK, belongs).where(_HEALTH.c.device_id.in_(ids))
    return session.execute(statement.order_by(_BLOCK.c.device_id, _BLOCK.c.id).limit(BLOCKS)).all()


def _add(session: Session, tenant_id: str, level: Level, names: Sequence[tuple[str, str]], new: Buckets) -> None:
    """Writes the rows of the spans that ``new`` lies in, with what they held before."""
    if not len(new):
        return
    spans = sorted({(names[one][0], span_at(level, at)) for one, at in _places(level, new)})
    keys, before = _stored(session, level, spans)
    known = {metric: [keys[row][0] for row in np.unique(one.series).tolist()] for metric, one in before.items()}
    all_names = sorted({*names, *((device, metric) for metric, devices in known.items() for device in devices)})
    number_of = {name: number for number, name in enumerate(all_names)}
    renumbered = np.array([number_of[name] for name in names], dtype=np.int64)
    parts = [Buckets(renumbered[new.series], new.at, *new.stats)]
    for metric, buckets in before.items():
        of_row = np.array([number_of.get((device, metric), -1) for device, _ in keys], dtype=np.int64)
        parts.append(Buckets(of_row[buckets.series], buckets.at, *buckets.stats))
    together = merged(parts)
    rows = sorted(_cut(level, all_names, together).items())
    packed = pack_rows(together, [row for _, row in rows])
    made = [
        {"device_id": device, "span_at": at, "tenant_id": tenant_id, "packed": each}
        for ((device, at), _), each in zip(rows, packed, strict=True)
    ]
    bulk.write(session, TABLES[level], made, _CONFLICT)


def span_at(level: Level, bucket: int) -> datetime:
    return from_ms(bucket * level.bucket_ms // level.span_ms * level.span_ms)


def _places(level: Level, buckets: Buckets) -> Iterator[tuple[int, int]]:
    """Of each series the first bucket in each of its spans."""
    per_span = level.span_ms // level.bucket_ms
    starts = _starts(buckets, per_span)
    yield from zip(buckets.series[starts].tolist(), buckets.at[starts].tolist(), strict=True)


def _starts(buckets: Buckets, per_span: int) -> Ints:
    """Where another series or span begins: they lie in the order of both."""
    span = buckets.at // per_span
    is_first = np.concatenate(([True], (buckets.series[1:] != buckets.series[:-1]) | (span[1:] != span[:-1])))
    return np.flatnonzero(is_first)


def _stored(session: Session, level: Level, keys: Sequence[Key]) -> tuple[list[Key], dict[str, Buckets]]:
    """Those of the rows that are there, and by metric what is in them: the series is the place of the row."""
    table = TABLES[level]
    found: list[tuple[str, datetime, bytes]] = []
    for first in range(0, len(keys), _KEYS):
        key = (table.c.device_id, table.c.span_at)
        wanted = select(*key, table.c.packed).where(among(session, *key, keys[first : first + _KEYS]))
        found += [(device, at, packed) for device, at, packed in session.execute(wanted)]
    return [(device, at) for device, at, _ in found], unpack_rows([packed for _, _, packed in found])


def _cut(level: Level, names: Sequence[tuple[str, str]], buckets: Buckets) -> dict[Key, list[tuple[str, slice]]]:
    """Which stretch of the buckets is of which row and metric: they lie in the order of series and time."""
    per_span = level.span_ms // level.bucket_ms
    starts = _starts(buckets, per_span).tolist()
    rows: dict[Key, list[tuple[str, slice]]] = defaultdict(list)
    for begin, end in zip(starts, [*starts[1:], len(buckets)], strict=True):
        device, metric = names[int(buckets.series[begin])]
        rows[device, span_at(level, int(buckets.at[begin]))].append((metric, slice(begin, end)))
    return rows


def _note(session: Session, blocks: Sequence[Row[Any]], whole: Sequence[str]) -> None:
    """What was taken of each device; of those in ``whole`` nothing is left."""
    last: dict[str, tuple[int, int]] = {}
    for block in blocks:
        last[block.device_id] = (block.id, last.get(block.device_id, (0, 0))[1] + 1)
    for device_id, (newest, count) in last.items():
        of_device = update(_HEALTH).where(_HEALTH.c.device_id == device_id)
        session.execute(of_device.values(folded_id=newest, unfolded=_HEALTH.c.unfolded - count))
    done = update(_HEALTH).where(_HEALTH.c.device_id.in_(whole))
    session.execute(done.values(unfolded_since=null(), unfolded=0, fold_at=null()))


def count_unfolded(session: Session) -> int:
    """Blocks, of all tenants."""
    return int(session.execute(select(func.coalesce(func.sum(_HEALTH.c.unfolded), 0))).scalar_one())
