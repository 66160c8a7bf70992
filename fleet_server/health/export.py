"""Everything that was measured in a range, row by row, for other programs: one device after the other, in pieces that
bound the memory whatever the range.

Pieces are read in transactions of their own, so that an export of hours hinders no vacuum; what is stored meanwhile may
or may not be in it. Files are `fleet_server.health.export_files`' part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.db import reading
from fleet_server.devices.repository import DeviceRepository
from fleet_server.devices.service import CapabilityCache, DeviceService
from fleet_server.health.packing import Floats, Ints
from fleet_server.health.repository import BlockRow, HealthRepository
from fleet_server.health.rollups import Buckets, Level
from fleet_server.health.service import HealthService
from fleet_server.health.unpacking import BlockDamaged, unpack_many
from fleet_server.kit.times import to_ms

# Blocks of one piece: at most some hundred thousand samples, usually a few thousand.
BLOCKS: Final = 200
_DEVICES: Final = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """``level`` None: single samples. Without a device or a site: all of the tenant's."""

    begin: datetime
    end: datetime
    level: Level | None = None
    device: str | None = None
    site: str | None = None
    metrics: frozenset[str] = frozenset()

    def as_data(self) -> dict[str, object]:
        """For the audit."""
        return {
            "from": self.begin.isoformat(),
            "to": self.end.isoformat(),
            "level": "samples" if self.level is None else self.level.name.lower(),
            "device": self.device,
            "site": self.site,
            "metrics": sorted(self.metrics),
        }


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one device, oldest first. ``texts`` where ``values`` has NaN; ``buckets`` instead of both for rollups."""

    device_id: str
    serial_number: str
    metrics: list[str]
    at_ms: Ints
    values: Floats
    texts: list[str | None] | None = None
    buckets: Buckets | None = None

    def __len__(self) -> int:
        return len(self.at_ms)


class HealthExport:
    """``devices_done`` and ``rows_done`` tell how far `pieces` is."""

    def __init__(self, engine: Engine, tenant_id: str, wanted: Wanted) -> None:
        self._engine = engine
        self._tenant_id = tenant_id
        self._wanted = wanted
        self.devices_done = 0
        self.rows_done = 0

    def count_devices(self) -> int:
        """Raises ``DeviceNotFound`` for a single one that is not there."""
        with reading(self._engine, self._tenant_id) as session:
            devices = self._devices(session)
            if self._wanted.device is None:
                return devices.count(self._wanted.site)
            devices.get(self._wanted.device)
            return 1

    def pieces(self) -> Iterator[Piece]:
        for device_id, serial_number in self._chosen():
            found = self._samples if self._wanted.level is None else self._rollup
            for piece in found(device_id, serial_number):
                if len(piece):
                    self.rows_done += len(piece)
                    yield piece
            self.devices_done += 1

    def _chosen(self) -> Iterator[tuple[str, str]]:
        if self._wanted.device is not None:
            with reading(self._engine, self._tenant_id) as session:
                one = self._devices(session).get(self._wanted.device).device
            yield one.id, one.serial_number
            return
        after = ""
        while True:
            with reading(self._engine, self._tenant_id) as session:
                found = self._devices(session).numbers_after(self._wanted.site, after, _DEVICES)
            yield from found
            if len(found) < _DEVICES:
                return
            after = found[-1][0]

    def _samples(self, device_id: str, serial_number: str) -> Iterator[Piece]:
        after: tuple[datetime, int] | None = None
        while True:
            with reading(self._engine, self._tenant_id) as session:
                repository = HealthRepository(session, self._tenant_id)
                found = repository.blocks_after(device_id, self._wanted.begin, self._wanted.end, after, BLOCKS)
            yield self._piece(device_id, serial_number, [block for _, block in found])
            if len(found) < BLOCKS:
                return
            after = (found[-1][1].start_at, found[-1][0])

    def _piece(self, device_id: str, serial_number: str, blocks: list[BlockRow]) -> Piece:
        metrics: list[str] = []
        moments: list[Ints] = [np.empty(0, dtype=np.int64)]
        values: list[Floats] = [np.empty(0)]
        texts: list[str | None] = []
        found = unpack_many([block.columns for block in blocks], self._wanted.metrics or None)
        if found.damaged:
            raise BlockDamaged(f"expected packed samples, came others from {blocks[found.damaged[0]].start_at}")
        start_ms = np.array([to_ms(block.start_at) for block in blocks], dtype=np.int64)
        step_ms = np.array([block.step_ms for block in blocks], dtype=np.int64)
        for metric, column in found.numbers.items():
            metrics += [metric] * len(column.values)
            moments.append(column.spread(start_ms) + column.places * column.spread(step_ms))
            values.append(column.values)
            texts += [None] * len(column.values)
        for place, metric, odd in found.odd:
            metrics += [metric] * len(odd)
            moments.append(start_ms[place] + np.arange(len(odd), dtype=np.int64) * step_ms[place])
            values.append(np.array([np.nan if one is None or isinstance(one, str) else one for one in odd]))
            texts += [one if isinstance(one, str) else None for one in odd]
        at_ms, numbers = np.concatenate(moments), np.concatenate(values)
        is_text = np.array([one is not None for one in texts], dtype=bool)
        is_wanted = (~np.isnan(numbers) | is_text) & (at_ms >= to_ms(self._wanted.begin))
        is_wanted &= at_ms < to_ms(self._wanted.end)
        places = np.flatnonzero(is_wanted)
        places = places[np.argsort(at_ms[places], kind="stable")]
        order = places.tolist()
        named = [metrics[place] for place in order]
        said = [texts[place] for place in order] if is_text.any() else None
        return Piece(device_id, serial_number, named, at_ms[places], numbers[places], said)

    def _rollup(self, device_id: str, serial_number: str) -> Iterator[Piece]:
        level = self._wanted.level
        assert level is not None  # noqa: S101 - chosen by it
        with reading(self._engine, self._tenant_id) as session:
            service = HealthService(HealthRepository(session, self._tenant_id))
            found = service.buckets(device_id, self._wanted.metrics, level, self._wanted.begin, self._wanted.end)
        for metric, buckets in found.items():
            named = [metric] * len(buckets)
            yield Piece(device_id, serial_number, named, buckets.at * level.bucket_ms, buckets.mean, buckets=buckets)

    def _devices(self, session: Session) -> DeviceService:
        return DeviceService(DeviceRepository(session, self._tenant_id), CapabilityCache())
