"""The newest sample of each metric of a device, held while they are moved on, and the intervals that the fleet is
searched by.

An interval is wider than its value needs, so that a value that wanders costs no write to the index: a search finds
candidates by the interval and asks the value itself (`fleet_server.health.searching`).

Invariants: a newest value lies within its interval. Whoever adds blocks of a device holds its row before.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlmodel import Session

from fleet_server.health.models import DeviceHealth, ValueInterval
from fleet_server.kit import bulk
from fleet_server.kit.lookup import one_of
from fleet_server.kit.times import from_ms
from protocol.catalogue import metrics
from protocol.catalogue.metrics import MetricType
from protocol.catalogue.sides import Side

Value = float | int | str
_HEALTH = DeviceHealth.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_INTERVAL = ValueInterval.__table__  # type: ignore[attr-defined]  # as above
_HEALTH_CONFLICT = bulk.OnConflict(("device_id",), ("latest", "unfolded_since", "unfolded", "fold_at"))
_INTERVAL_CONFLICT = bulk.OnConflict(("device_id", "metric"), ("low", "high", "text"))
# A rollup's row is written anew with each folding, and a chart unpacks what is not folded: the one wants few foldings,
# the other few blocks.
FOLD_AFTER = timedelta(hours=4)
FOLD_BLOCKS: Final = 240
# Half an interval's width beside its value, or beside the whole range of a metric whose range is as wide as its values
# are: of one that could be millions and is fifty, the range says nothing.
_OF_VALUE: Final = 1 / 8
_OF_RANGE: Final = 1 / 32
_TELLING_RANGE: Final = 200.0
_LEAST_HALF: Final = 2.0
_RANGE = re.compile(r"(-?[0-9.e+]+)\.\.(-?[0-9.e+]+)")


class Entry(msgspec.Struct, array_like=True):
    """The newest sample of a metric. ``abnormal``, ``crossed_ms``: its side (`catalogue.sides`); null: never judged.

    The place of ``value`` is known to `fleet_server.health.searching`.
    """

    at_ms: int
    value: Value
    abnormal: bool | None = None
    crossed_ms: int | None = None
    low: float | None = None
    high: float | None = None

    @property
    def side(self) -> Side | None:
        return None if self.abnormal is None else Side(self.abnormal, self.crossed_ms)

    @property
    def at(self) -> datetime:
        return from_ms(self.at_ms)

    @property
    def number(self) -> float | None:
        return None if isinstance(self.value, str) else float(self.value)

    @property
    def text(self) -> str | None:
        return self.value if isinstance(self.value, str) else None

    def move(self, at_ms: int, value: Value, side: Side | None) -> None:
        self.at_ms = at_ms
        self.value = value
        self.abnormal = None if side is None else side.is_abnormal
        self.crossed_ms = None if side is None else side.crossed_ms

    def holds(self, value: Value) -> bool:
        if isinstance(value, str) or self.low is None or self.high is None:
            return False
        return self.low <= value <= self.high


Entries = dict[str, Entry]
_decoder = msgspec.json.Decoder(Entries)
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class Held:
    """A device's row, and what is to be changed in it. ``moved``: metrics whose interval is another."""

    entries: Entries
    unfolded_since: datetime | None
    unfolded: int
    fold_at: datetime | None
    moved: set[str] = field(default_factory=set)

    def add_block(self, start_at: datetime, now: datetime) -> None:
        """It is in no rollup yet."""
        self.unfolded += 1
        if self.unfolded_since is None or start_at < self.unfolded_since:
            self.unfolded_since = start_at
        if self.fold_at is None:
            self.fold_at = now + FOLD_AFTER
        elif self.unfolded == FOLD_BLOCKS:
            self.fold_at = now

    def settle(self, metric: str, before: Value | None) -> None:
        """Draws a new interval if the newest value of the metric left the one it had."""
        entry = self.entries[metric]
        if isinstance(entry.value, str):
            if before != entry.value:
                entry.low = entry.high = None
                self.moved.add(metric)
        elif not entry.holds(entry.value):
            entry.low, entry.high = interval(metric, entry.value)
            self.moved.add(metric)


def read(text: str) -> Entries:
    return _decoder.decode(text)


def hold(session: Session, tenant_id: str, device_ids: Collection[str]) -> dict[str, Held]:
    """The rows of these devices, made if there are none, locked in the order of their ids."""
    wanted = sorted(device_ids)
    found = _locked(session, wanted)
    missing = [device_id for device_id in wanted if device_id not in found]
    if missing:
        new = {"tenant_id": tenant_id, "latest": "{}", "unfolded": 0, "folded_id": 0}
        bulk.write(session, _HEALTH, [{"device_id": device_id, **new} for device_id in missing])
        found |= _locked(session, missing)
    return found


def save(session: Session, tenant_id: str, held: Mapping[str, Held]) -> None:
    rows = [
        {
            "device_id": device_id,
            "tenant_id": tenant_id,
            "latest": _encoder.encode(one.entries).decode(),
            "unfolded_since": one.unfolded_since,
            "unfolded": one.unfolded,
            "fold_at": one.fold_at,
            "folded_id": 0,
        }
        for device_id, one in held.items()
    ]
    bulk.write(session, _HEALTH, rows, _HEALTH_CONFLICT)
    moved = [
        _interval_row(tenant_id, device_id, metric, one.entries[metric])
        for device_id, one in held.items()
        for metric in sorted(one.moved)
    ]
    bulk.write(session, _INTERVAL, moved, _INTERVAL_CONFLICT)


def interval(metric: str, value: float) -> tuple[float, float]:
    """From below to above the value, by no more digits than that needs."""
    half = max(abs(value) * _OF_VALUE, _least_half(metric))
    low, high = float(f"{value - half:.4g}"), float(f"{value + half:.4g}")
    # Rounding may have gone past the value.
    return min(low, value), max(high, value)


def _locked(session: Session, device_ids: list[str]) -> dict[str, Held]:
    columns = (
        _HEALTH.c.device_id,
        _HEALTH.c.latest,
        _HEALTH.c.unfolded_since,
        _HEALTH.c.unfolded,
        _HEALTH.c.fold_at,
    )
    statement = select(*columns).where(one_of(session, _HEALTH.c.device_id, device_ids)).order_by(_HEALTH.c.device_id)
    rows = session.connection().execute(statement.with_for_update())
    return {device_id: Held(_decoder.decode(text), *folding) for device_id, text, *folding in rows}


@lru_cache(maxsize=1024)
def _least_half(metric: str) -> float:
    known = metrics.get(metric)
    written = None if known is None else _RANGE.fullmatch(known.range)
    if known is not None and known.type is MetricType.STATE:
        return 0.0
    span = 0.0 if written is None else float(written[2]) - float(written[1])
    return span * _OF_RANGE if 0 < span <= _TELLING_RANGE else _LEAST_HALF


def _interval_row(tenant_id: str, device_id: str, metric: str, entry: Entry) -> dict[str, Any]:
    return {
        "device_id": device_id,
        "metric": metric,
        "tenant_id": tenant_id,
        "low": entry.low,
        "high": entry.high,
        "text": entry.text,
    }
