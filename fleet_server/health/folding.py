"""Folding: blocks that are in no rollup yet go into those of five minutes, hours and days, once each.

A chore of the scheduler, in two steps: what is due is read and computed while ingest goes on (`read_due`); the rows of
devices are held only to write it (`write_folded`). A device whose blocks another process folded in between is left to
that. Whoever reads rollups adds what is not folded yet (`fleet_server.health.service`), so nothing waits for this.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
import structlog
from sqlalchemy import Row, Table, and_, func, select
from sqlmodel import Session

from fleet_server.health.latest import FOLD_AFTER, FOLD_BLOCKS
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
_IS_UNFOLDED = and_(
    _BLOCK.c.device_id == _HEALTH.c.device_id,
    _BLOCK.c.start_at >= _HEALTH.c.unfolded_since,
    _BLOCK.c.id > _HEALTH.c.folded_id,
)
_log = structlog.get_logger(__name__)

Key = tuple[str, datetime]  # device, span


@dataclass(frozen=True, slots=True)
class Folded:
    """``more``: others are due."""

    blocks: int
    more: bool


@dataclass(frozen=True, slots=True)
class Samples:
    """Of many blocks. ``names``: device and metric that each number in ``series`` stands for, by metric and device."""

    names: list[tuple[str, str]]
    series: Ints
    at_ms: Ints
    values: Floats


@dataclass(frozen=True, slots=True)
class Taken:
    """A device's blocks after ``before``: ``count`` of them, the last is ``newest``. ``is_all``: there were no more."""

    before: int
    newest: int
    count: int
    is_all: bool


@dataclass(frozen=True, slots=True)
class Due:
    """``rows``: of each level, as they will be once the blocks of ``devices`` are in them."""

    devices: dict[str, Taken]
    rows: dict[Level, list[dict[str, Any]]]
    more: bool


def read_due(session: Session, tenant_id: str, now: datetime) -> Due:
    """What is due, oldest first."""
    wanted = (
        select(_HEALTH.c.device_id, _HEALTH.c.folded_id)
        .where(_HEALTH.c.tenant_id == tenant_id, _HEALTH.c.fold_at <= now)
        .order_by(_HEALTH.c.fold_at)
        .limit(DEVICES)
    )
    folded: dict[str, int] = {row.device_id: row.folded_id for row in session.execute(wanted)}
    blocks = _unfolded(session, list(folded))
    taken = samples_of((block.device_id, block) for block in blocks)
    rows = {level: _rows(session, tenant_id, level, taken.names, new) for level, new in levels_of(taken).items()}
    # The last device's blocks may go on beyond the limit.
    cut = blocks[-1].device_id if len(blocks) == BLOCKS else ""
    counts = Counter([block.device_id for block in blocks])
    # In the order of ids: the last of each stays.
    newest = folded | {block.device_id: block.id for block in blocks}
    devices = {
        id_: Taken(before, newest[id_], counts[id_], is_all=not cut or id_ < cut) for id_, before in folded.items()
    }
    return Due(devices, rows, more=len(folded) == DEVICES or bool(cut))


def write_folded(session: Session, due: Due, now: datetime) -> Folded:
    """Leaves out devices that were folded or removed since they were read."""
    columns = (_HEALTH.c.device_id, _HEALTH.c.folded_id, _HEALTH.c.unfolded, _HEALTH.c.fold_at)
    held = select(*columns).where(_HEALTH.c.device_id.in_(list(due.devices))).order_by(_HEALTH.c.device_id)
    found = session.execute(held.with_for_update()).all() if due.devices else []
    still = {row.device_id: row for row in found if row.folded_id == due.devices[row.device_id].before}
    for level, rows in due.rows.items():
        bulk.write(session, TABLES[level], [row for row in rows if row["device_id"] in still], _CONFLICT)
    bulk.update(session, _HEALTH, "device_id", ("folded_id",), [(id_, due.devices[id_].newest) for id_ in still])
    left = {id_: row.unfolded - due.devices[id_].count for id_, row in still.items()}
    since = _unfolded_since(session, [id_ for id_, count in left.items() if count])
    times = [
        (id_, left[id_], since[id_], _next_fold(due.devices[id_], row.fold_at, left[id_], now))
        if id_ in since
        else (id_, 0, None, None)
        for id_, row in still.items()
    ]
    bulk.update(session, _HEALTH, "device_id", ("unfolded", "unfolded_since", "fold_at"), times)
    return Folded(sum(due.devices[id_].count for id_ in still), more=due.more)


def _next_fold(taken: Taken, fold_at: datetime, unfolded: int, now: datetime) -> datetime:
    """Of the blocks that are left, which came since the others were read unless those were too many."""
    if not taken.is_all:
        return fold_at
    return now if unfolded >= FOLD_BLOCKS else now + FOLD_AFTER


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
    # As the columns lie: metric by metric. What is in order need not be sorted.
    keys = np.concatenate([device[one.blocks] + place * len(devices) for place, one in enumerate(columns)])
    is_known = np.zeros(len(devices) * len(metrics), dtype=np.bool_)
    is_known[keys] = True
    number_of_key = np.cumsum(is_known) - 1
    return Samples(
        [(devices[key % len(devices)], metrics[key // len(devices)]) for key in np.flatnonzero(is_known).tolist()],
        np.repeat(number_of_key[keys], np.concatenate([one.lengths for one in columns])),
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
    statement = select(*columns).select_from(_HEALTH).join(_BLOCK, _IS_UNFOLDED).where(_HEALTH.c.device_id.in_(ids))
    return session.execute(statement.order_by(_BLOCK.c.device_id, _BLOCK.c.id).limit(BLOCKS)).all()


def _rows(
    session: Session, tenant_id: str, level: Level, names: Sequence[tuple[str, str]], new: Buckets
) -> list[dict[str, Any]]:
    """Of the spans that ``new`` lies in, with what they hold by now."""
    if not len(new):
        return []
    spans = sorted({(names[one][0], span_at(level, at)) for one, at in _places(level, new)})
    keys, before = _stored(session, level, spans)
    known = {metric: [keys[row][0] for row in np.unique(one.series).tolist()] for metric, one in before.items()}
    told = {*names, *((device, metric) for metric, devices in known.items() for device in devices)}
    all_names = sorted(told, key=itemgetter(1, 0))
    number_of = {name: number for number, name in enumerate(all_names)}
    renumbered = np.array([number_of[name] for name in names], dtype=np.int64)
    parts = [Buckets(renumbered[new.series], new.at, *new.stats)]
    for metric, buckets in before.items():
        of_row = np.array([number_of.get((device, metric), -1) for device, _ in keys], dtype=np.int64)
        parts.append(Buckets(of_row[buckets.series], buckets.at, *buckets.stats))
    together = merged(parts)
    rows = sorted(_cut(level, all_names, together).items())
    packed = pack_rows(together, [row for _, row in rows])
    return [
        {"device_id": device, "span_at": at, "tenant_id": tenant_id, "packed": each}
        for ((device, at), _), each in zip(rows, packed, strict=True)
    ]


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


def _unfolded_since(session: Session, ids: Sequence[str]) -> dict[str, datetime]:
    if not ids:
        return {}
    oldest = (
        select(_BLOCK.c.device_id, func.min(_BLOCK.c.start_at).label("oldest"))
        .select_from(_HEALTH)
        .join(_BLOCK, _IS_UNFOLDED)
    )
    of_devices = oldest.where(_HEALTH.c.device_id.in_(ids)).group_by(_BLOCK.c.device_id)
    return {row.device_id: row.oldest for row in session.execute(of_devices)}


def count_unfolded(session: Session) -> int:
    """Blocks, of all tenants."""
    return int(session.execute(select(func.coalesce(func.sum(_HEALTH.c.unfolded), 0))).scalar_one())
