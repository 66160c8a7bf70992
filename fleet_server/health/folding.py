"""Folding: blocks that are in no rollup yet go into those of five minutes, hours and days, once each.

A chore of the scheduler. A device's row is held meanwhile, so that no block is added between reading them and noting
the last that was taken (`fleet_server.health.models`). Whoever reads rollups adds what is not folded yet
(`fleet_server.health.service`), so nothing waits for this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import structlog
from sqlalchemy import Row, Table, and_, func, null, select, update
from sqlmodel import Session

from fleet_server.health.models import DeviceHealth, HealthBlock, HealthDays, HealthFiveMinutes, HealthHours
from fleet_server.health.packing import BlockDamaged, Floats, Ints, unpack
from fleet_server.health.rollups import Buckets, Level, merged, numbered, of_samples, pack_rows, unpack_row
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


def samples_of(blocks: Iterable[tuple[str, Block]], wanted: frozenset[str] | None = None) -> Samples:
    """Numbers only. A block that is damaged is left out and told to the log."""
    pieces: dict[tuple[str, str], list[tuple[Ints, Floats]]] = defaultdict(list)
    for device_id, block in blocks:
        try:
            columns = unpack(block.columns, wanted).numbers
        except BlockDamaged as error:
            _log.error("a block of samples is damaged", device=device_id, start_at=block.start_at, error=str(error))
            continue
        start_ms = to_ms(block.start_at)
        longest = max(map(len, columns.values()), default=0)
        at_ms = start_ms + np.arange(longest, dtype=np.int64) * block.step_ms
        for metric, values in columns.items():
            pieces[device_id, metric].append((at_ms[: len(values)], values))
    names = sorted(pieces)
    flat = [(number, piece) for number, name in enumerate(names) for piece in pieces[name]]
    if not flat:
        return Samples([], np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    sizes = [len(piece[0]) for _, piece in flat]
    return Samples(
        names,
        np.repeat(np.array([number for number, _ in flat], dtype=np.int64), sizes),
        np.concatenate([piece[0] for _, piece in flat]),
        np.concatenate([piece[1] for _, piece in flat]),
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
    before = _stored(session, level, spans)
    all_names = sorted({*names, *((device, metric) for (device, _), row in before.items() for metric in row)})
    number_of = {name: number for number, name in enumerate(all_names)}
    renumbered = np.array([number_of[name] for name in names], dtype=np.int64)
    parts = [Buckets(renumbered[new.series], new.at, *new.stats)]
    for (device, _), row in before.items():
        parts += [numbered(buckets, number_of[device, metric]) for metric, buckets in row.items()]
    together = merged(parts)
    rows = _cut(level, all_names, together)
    keys = sorted(rows)
    packed = pack_rows(together, [rows[key] for key in keys])
    made = [
        {"device_id": device, "span_at": at, "tenant_id": tenant_id, "packed": each}
        for (device, at), each in zip(keys, packed, strict=True)
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


def _stored(session: Session, level: Level, keys: Sequence[Key]) -> dict[Key, dict[str, Buckets]]:
    table = TABLES[level]
    found: dict[Key, dict[str, Buckets]] = {}
    for first in range(0, len(keys), _KEYS):
        key = (table.c.device_id, table.c.span_at)
        wanted = select(*key, table.c.packed).where(among(session, *key, keys[first : first + _KEYS]))
        for device, at, packed in session.execute(wanted):
            found[device, at] = unpack_row(packed)
    return found


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
