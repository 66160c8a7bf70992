"""All columns of one flush as a few arrays, so that what is asked of every sample is asked of all of them at once.

A column that is not numbers alone is left out of the arrays and kept as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf

import numpy as np
import numpy.typing as npt

from fleet_server.health.packing import Floats, Ints, OddColumn, measured, pack_many
from protocol.catalogue import metrics
from protocol.catalogue.normal_range import AtLeast, AtMost, Between, NormalRange, OneOf
from protocol.catalogue.vocabulary import TerminalClass
from protocol.records import HealthColumns

_CLASSES: dict[str, TerminalClass] = {one.value: one for one in TerminalClass}
_ANYTHING, _NOTHING = (-inf, inf), (inf, -inf)


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

    def glance(self, classes: Sequence[str]) -> tuple[list[int], list[bool]]:
        """Of each column: the place of its last measured sample (-1: none), and whether it was within the normal range
        of the body's class all the time.
        """
        if not len(self.lengths):
            return [], []
        starts = np.concatenate(([0], np.cumsum(self.lengths)[:-1]))
        present = ~np.isnan(self.values)
        places = np.where(present, np.arange(len(self.values)), -1)
        last = np.maximum.reduceat(places, starts) - starts
        lowest = np.minimum.reduceat(np.where(present, self.values, np.inf), starts)
        highest = np.maximum.reduceat(np.where(present, self.values, -np.inf), starts)
        bounds = np.concatenate([_bounds(*one) for one in zip(self.names, classes, strict=True)])
        is_calm = (lowest >= bounds[:, 0]) & (highest <= bounds[:, 1])
        return np.maximum(last, -1).tolist(), (is_calm | (last < 0)).tolist()


def gather(bodies: Sequence[HealthColumns], numbers: Sequence[Floats | None] = ()) -> FlushColumns:
    """``numbers``: of each body its samples column by column, where they are known to be numbers alone."""
    if numbers and (known := [one for one in numbers if one is not None]) and len(known) == len(bodies):
        # Nearly always.
        names = [tuple(body.columns) for body in bodies]
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
