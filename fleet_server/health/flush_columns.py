"""All columns of one flush as a few arrays, so that what is asked of every sample is asked of all of them at once.

A column that is not numbers alone is left out of the arrays and kept as it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from fleet_server.health.number_columns import NumberColumns, plain
from fleet_server.health.packing import Floats, Ints, OddColumn, measured, pack_many
from protocol.catalogue import metrics
from protocol.catalogue.normal_range import AtLeast, AtMost, Between, NormalRange, OneOf
from protocol.catalogue.vocabulary import TerminalClass
from protocol.records import HealthColumns

_CLASSES: dict[str, TerminalClass] = {one.value: one for one in TerminalClass}
_ANYTHING, _NOTHING = (-inf, inf), (inf, -inf)
# Place of the body that it is from, metric, moment, value, and whether all of the metric's numbers that the device sent
# were within its normal range.
Newest = tuple[int, str, int, float | int, bool]


@dataclass(frozen=True, slots=True)
class FlushColumns:
    """``first`` of each body: where its columns begin in ``names``, ``values`` (by ``starts``) and ``lengths``."""

    bodies: Sequence[HealthColumns]
    names: list[tuple[str, ...]]  # of each body, without its oddities
    odd: list[dict[str, OddColumn]]
    values: Floats
    lengths: Ints

    def pack(self) -> list[bytes]:
        """One block a body."""
        return pack_many(self.values, self.lengths, list(zip(self.names, self.odd, strict=True)))

    def newest(
        self, devices: Sequence[str], classes: Sequence[str], start_ms: Sequence[int], now_ms: int
    ) -> Iterator[Newest]:
        """One for each metric of a device that was measured. Given of each body: its device, that one's class, and when
        it begins. Bodies are in the order of time: of two samples of one moment the later body's counts.
        """
        if not len(self.lengths):
            return
        counts = [len(each) for each in self.names]
        starts = np.concatenate(([0], np.cumsum(self.lengths)[:-1]))
        last, is_calm = self._glance(starts, classes)
        step_ms = np.repeat([body.step_ms for body in self.bodies], counts)
        at_ms = np.where(last < 0, -1, np.minimum(np.repeat(start_ms, counts) + step_ms * last, now_ms))
        keys, metrics_in_order = self._keys(devices, counts)
        order = np.lexsort((at_ms, keys))
        sorted_keys = keys[order]
        begins = np.flatnonzero(np.concatenate(([True], sorted_keys[1:] != sorted_keys[:-1])))
        chosen = order[np.append(begins[1:], len(order)) - 1]
        all_calm = np.logical_and.reduceat(is_calm[order], begins)
        was_measured = last[chosen] >= 0
        chosen, all_calm = chosen[was_measured], all_calm[was_measured]
        yield from zip(
            np.repeat(np.arange(len(counts)), counts)[chosen].tolist(),
            [metrics_in_order[key] for key in (keys[chosen] % len(metrics_in_order)).tolist()],
            at_ms[chosen].tolist(),
            map(plain, self.values[starts[chosen] + last[chosen]].tolist()),
            all_calm.tolist(),
            strict=True,
        )

    def _keys(self, devices: Sequence[str], counts: Sequence[int]) -> tuple[Ints, list[str]]:
        """A number for each column's device and metric: how many metrics there are times the device's, and the metric's
        place among them.
        """
        number_of: dict[str, int] = {}
        of_names = {
            each: np.array([number_of.setdefault(name, len(number_of)) for name in each], dtype=np.int64)
            for each in set(self.names)
        }
        device_of = {device: number for number, device in enumerate(dict.fromkeys(devices))}
        owners = np.repeat([device_of[device] for device in devices], counts)
        return owners * len(number_of) + np.concatenate([of_names[each] for each in self.names]), list(number_of)

    def _glance(self, starts: Ints, classes: Sequence[str]) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Of each column: the place of its last measured sample (-1: none), and whether it was within the normal range
        of the body's class all the time.
        """
        bounds = np.concatenate([_bounds(*one) for one in zip(self.names, classes, strict=True)])
        is_there = ~np.isnan(self.values)
        if is_there.all():
            # Nearly always.
            lowest, highest = np.minimum.reduceat(self.values, starts), np.maximum.reduceat(self.values, starts)
            return self.lengths - 1, (lowest >= bounds[:, 0]) & (highest <= bounds[:, 1])
        last = np.maximum.reduceat(np.where(is_there, np.arange(len(self.values)), -1), starts) - starts
        lowest = np.minimum.reduceat(np.where(is_there, self.values, np.inf), starts)
        highest = np.maximum.reduceat(np.where(is_there, self.values, -np.inf), starts)
        is_calm = (lowest >= bounds[:, 0]) & (highest <= bounds[:, 1])
        return np.maximum(last, -1), is_calm | (last < 0)


def gather(bodies: Sequence[HealthColumns], numbers: Sequence[Floats | None] = ()) -> FlushColumns:
    """``numbers``: of each body its samples column by column, where they are known to be numbers alone."""
    if numbers and (known := [one for one in numbers if one is not None]) and len(known) == len(bodies):
        # Nearly always.
        names = [_names_of(body.columns) for body in bodies]
        lengths = np.repeat([body.steps for body in bodies], [len(one) for one in names]).astype(np.int64)
        return FlushColumns(bodies, names, [{}] * len(bodies), np.concatenate(known), lengths)
    arrays: list[Floats] = []
    names, odd = [], []
    for body in bodies:
        columns = {metric: measured(column) for metric, column in body.columns.items()}
        names.append(tuple(metric for metric, column in columns.items() if column is not None))
        odd.append({metric: body.columns[metric] for metric, column in columns.items() if column is None})
        arrays += [column for column in columns.values() if column is not None]
    values = np.concatenate(arrays) if arrays else np.empty(0)
    return FlushColumns(bodies, names, odd, values, np.array([len(one) for one in arrays], dtype=np.int64))


def _names_of(columns: Mapping[str, Any]) -> tuple[str, ...]:
    return columns.names if isinstance(columns, NumberColumns) else tuple(columns)


def normal_of(metric: str, terminal_class: str) -> NormalRange | None:
    known, of_class = metrics.get(metric), _CLASSES.get(terminal_class)
    return None if known is None or of_class is None else known.normal(of_class)


def class_of(name: str) -> TerminalClass | None:
    return _CLASSES.get(name)


@lru_cache(maxsize=1024)
def _bounds(names: tuple[str, ...], terminal_class: str) -> npt.NDArray[np.float64]:
    """Between which values nothing can have happened, a row a column."""
    return np.array([_calm(metric, terminal_class) for metric in names], dtype=np.float64).reshape(len(names), 2)


def _calm(metric: str, terminal_class: str) -> tuple[float, float]:
    match normal_of(metric, terminal_class):
        case None:
            return _ANYTHING
        case AtMost(limit):
            return -inf, limit
        case AtLeast(limit):
            return limit, inf
        case Between(low, high):
            return low, high
        case OneOf((float() as only,)):
            return only, only
        case _:
            return _NOTHING
