"""How the newest values of a metric lie over the fleet: for each model and version the quantiles, and how many are out
of the normal range.

Read from the newest values alone, one row a device; they are held as plain numbers, some bytes a device. Quantiles are
taken between neighbours, as `percentile_cont` does. Numbers that mean "not known" count as such and move no quantile.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
from sqlalchemy import Select, select
from sqlmodel import Session

from fleet_server.assignments.narrowing import assigned_devices
from fleet_server.health.flush_columns import normal_of
from fleet_server.health.models import DeviceHealth, ValueInterval
from fleet_server.health.packing import Floats
from fleet_server.health.searching import METRIC_NAME, newest_number
from protocol.catalogue import metrics
from protocol.catalogue.normal_range import AtLeast, AtMost, Between, NormalRange, OneOf

# Groups in an answer, those of most devices first; and as many as are told apart: versions are what devices say.
MAX_GROUPS: Final = 100
MAX_TOLD_APART: Final = 2000
MAX_METRICS: Final = 500
_AT_A_TIME: Final = 5000
_NAME = re.compile(METRIC_NAME)
_QUANTILES: Final = (0.0, 5.0, 25.0, 50.0, 75.0, 95.0, 100.0)
_HEALTH = DeviceHealth.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_INTERVAL = ValueInterval.__table__  # type: ignore[attr-defined]  # as above
Makes = Select[tuple[str, str, str, str, str]]


class Version(StrEnum):
    """By which version devices of a model are told apart."""

    FIRMWARE = "firmware"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Summary:
    low: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    high: float


@dataclass(frozen=True, slots=True)
class Group:
    """``version``: empty for devices that never told one. ``out``: None where there is no normal range to be out of.
    ``summary``: None when no value is known. ``classes``: of its devices, for their normal ranges.
    """

    model: str
    version: str
    devices: int
    out: int | None
    unknown: int
    summary: Summary | None
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """``devices``: all of them, also those of groups that are left out."""

    metric: str
    by: Version
    devices: int
    groups: list[Group]
    groups_left_out: int
    devices_left_out: int


@dataclass(slots=True)
class _Gathered:
    """By class, because what is normal depends on it."""

    of_class: dict[str, array[float]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(map(len, self.of_class.values()))


class FleetValues:
    """Made for one tenant; never commits."""

    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def numbers(self, metric: str, makes: Makes) -> Iterator[tuple[str, str, str, str, float]]:
        """Model, firmware, version of the agent, class, and the newest number of the metric: of each device that has
        one. ``makes`` is a query for id and the four.
        """
        made = makes.subquery("make")
        number = newest_number(self._session, metric)
        statement = (
            select(made.c.model, made.c.firmware, made.c.agent_version, made.c.terminal_class, number)
            .select_from(_HEALTH.join(made, made.c.id == _HEALTH.c.device_id))
            .where(_HEALTH.c.tenant_id == self._tenant_id)
        )
        rows = self._session.execute(statement, execution_options={"yield_per": _AT_A_TIME})
        for model, firmware, agent, of_class, value in rows:
            if value is not None:
                yield model, firmware, agent, of_class, float(value)

    def metrics(self) -> list[str]:
        """Names of all that somebody reports as a number, at most `MAX_METRICS`. Goes from one to the next by an index:
        there are millions of rows and dozens of names.
        """
        seen = assigned_devices(self._session, _INTERVAL.c.device_id)
        ours = select(_INTERVAL.c.metric).where(_INTERVAL.c.tenant_id == self._tenant_id, *seen).limit(1)
        following = ours.order_by(_INTERVAL.c.metric)
        found: list[str] = []
        name: str | None = self._session.execute(following).scalar()
        while name is not None and len(found) < MAX_METRICS:
            # As a range: for SQLite "not null" would be a look at each null before.
            of_number = ours.where(_INTERVAL.c.metric == name, _INTERVAL.c.low >= float("-inf"))
            if _NAME.fullmatch(name) and self._session.execute(of_number).first() is not None:
                found.append(name)
            name = self._session.execute(following.where(_INTERVAL.c.metric > name)).scalar()
        return found


class DistributionService:
    def __init__(self, values: FleetValues) -> None:
        self._values = values

    def metrics(self) -> list[str]:
        """Names of what can be asked for."""
        return self._values.metrics()

    def of(self, metric: str, makes: Makes, by: Version) -> Distribution:
        """``makes``: which devices (`fleet_server.devices.service.DeviceService.makes`)."""
        gathered: dict[tuple[str, str], _Gathered] = {}
        crowd = 0
        for model, firmware, agent, of_class, value in self._values.numbers(metric, makes):
            key = model, firmware if by is Version.FIRMWARE else agent
            group = gathered.get(key)
            if group is None:
                if len(gathered) == MAX_TOLD_APART:
                    crowd += 1
                    continue
                group = gathered[key] = _Gathered()
            group.of_class.setdefault(of_class, array("d")).append(value)
        ordered = sorted(gathered.items(), key=lambda one: (-one[1].count, one[0]))
        shown, rest = ordered[:MAX_GROUPS], ordered[MAX_GROUPS:]
        left_out = sum(one.count for _, one in rest) + crowd
        return Distribution(
            metric=metric,
            by=by,
            devices=sum(one.count for one in gathered.values()) + crowd,
            groups=[_group(metric, key, one) for key, one in shown],
            groups_left_out=len(rest) + (1 if crowd else 0),
            devices_left_out=left_out,
        )


def _group(metric: str, key: tuple[str, str], gathered: _Gathered) -> Group:
    known = metrics.get(metric)
    unknown_values = () if known is None else known.unknown_values
    out: int | None = None
    values: list[Floats] = []
    for name, numbers in sorted(gathered.of_class.items()):
        told = np.frombuffer(numbers, dtype=np.float64)
        told = told[~np.isin(told, unknown_values)]
        values.append(told)
        outside = outside_of(normal_of(metric, name), told)
        if outside is not None:
            out = (out or 0) + outside
    every = np.concatenate(values)
    return Group(
        model=key[0],
        version=key[1],
        devices=gathered.count,
        out=out,
        unknown=gathered.count - len(every),
        summary=Summary(*np.percentile(every, _QUANTILES).tolist()) if len(every) else None,
        classes=tuple(sorted(gathered.of_class)),
    )


def outside_of(normal: NormalRange | None, values: Floats) -> int | None:
    """How many of them are abnormal; None where numbers cannot be judged."""
    match normal:
        case AtMost(limit):
            return int((values > limit).sum())
        case AtLeast(limit):
            return int((values < limit).sum())
        case Between(low, high):
            return int(((values < low) | (values > high)).sum())
        case OneOf(allowed) if not any(isinstance(one, str) for one in allowed):
            return int((~np.isin(values, allowed)).sum())
        case _:
            return None
