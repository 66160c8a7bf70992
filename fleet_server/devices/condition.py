"""How a device is, in one word for the fleet page, kept with every change that may alter it.

faulty: an open fault of at least major severity that somebody at the device or the network has to mend. silent: not
heard while it should trade. watch: lesser faults. well: online, nothing open. off: off as usual. unknown: the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from fleet_server.devices.habit import LOOK_BACK, Habit, trading_probability
from fleet_server.devices.holding import hold
from fleet_server.devices.models import Device, HeardHour, Site
from fleet_server.devices.presence import Judgement, Presence, judge
from fleet_server.faults.models import Fault
from fleet_server.kit import bulk
from fleet_server.kit.lookup import one_of, only_compared
from protocol.catalogue import codes
from protocol.catalogue.vocabulary import Owner, Severity

_DEVICE = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_FAULT = Fault.__table__  # type: ignore[attr-defined]  # as above
_SITE = Site.__table__  # type: ignore[attr-defined]  # as above
_HEARD = HeardHour.__table__  # type: ignore[attr-defined]  # as above
# What the acquirer, the cardholder or nobody has to act on is not the device's own condition.
_MENDED_ON_SITE = {Owner.DEVICE, Owner.NETWORK, Owner.MERCHANT}
_SEVERITIES: dict[str, Severity] = {one.value: one for one in Severity}
_SEVERE = {Severity.MAJOR, Severity.CRITICAL}
# In the order of `_change`.
_CHANGED = ("condition", "condition_rank", "condition_since", "worst_code")


class Condition(StrEnum):
    """In the order in which they want attention."""

    FAULTY = "faulty"
    SILENT = "silent"
    WATCH = "watch"
    WELL = "well"
    OFF = "off"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        return list(Condition).index(self)


@dataclass(frozen=True, slots=True)
class OpenFault:
    code: str
    severity: Severity
    raised_at: datetime


def condition_of(judgement: Judgement, faults: Collection[OpenFault]) -> Condition:
    own = [fault for fault in faults if _owner(fault.code) in _MENDED_ON_SITE]
    if any(fault.severity in _SEVERE for fault in own):
        return Condition.FAULTY
    match judgement:
        case Judgement.ONLINE:
            return Condition.WATCH if any(fault.severity is Severity.MINOR for fault in own) else Condition.WELL
        case Judgement.SILENT_WHILE_TRADING:
            return Condition.SILENT
        case Judgement.OFF_AS_USUAL:
            return Condition.OFF
        case Judgement.NOT_KNOWN:
            return Condition.UNKNOWN


def worst_code(faults: Collection[OpenFault]) -> str:
    """The open fault that explains the others: the most severe that is no consequence of another, oldest first."""
    explained = codes.consequences(fault.code for fault in faults)
    causes = [fault for fault in faults if fault.code not in explained]
    causes.sort(key=lambda fault: (_owner(fault.code) not in _MENDED_ON_SITE, -fault.severity.rank, fault.raised_at))
    return causes[0].code if causes else ""


def recompute(session: Session, tenant_id: str, device_ids: Collection[str], now: datetime) -> None:
    """Brings condition, rank and worst code of these devices up to date; call it after all that may change them. The
    caller holds the devices.
    """
    if not device_ids:
        return
    wanted = sorted(set(device_ids))
    devices = _devices(session, tenant_id, wanted)
    faults = _open_faults(session, tenant_id, wanted)
    heard = _heard_hours(session, [row for row in devices if _needs_habit(row)], now)
    changes = [
        change
        for row in devices
        if (change := _change(row, faults.get(row["id"], []), heard.get(row["id"], []), now)) is not None
    ]
    bulk.update(session, _DEVICE, "id", _CHANGED, changes)


def sweep_conditions(session: Session, tenant_id: str, now: datetime, after_id: str = "", limit: int = 500) -> str:
    """For the scheduler, about once a minute: time alone makes a device that is off silent when its shop opens.

    Looks at ``limit`` devices that are not online, beyond ``after_id``; answers where to go on, "" at the end.
    """
    away = (
        select(_DEVICE.c.id)
        .where(_DEVICE.c.tenant_id == tenant_id, _DEVICE.c.presence != Presence.ONLINE, _DEVICE.c.id > after_id)
        .order_by(_DEVICE.c.id)
        .limit(limit)
    )
    ids = list(session.execute(away).scalars())
    hold(session, ids)
    recompute(session, tenant_id, ids, now)
    return ids[-1] if len(ids) == limit else ""


def _change(
    row: Mapping[str, Any], faults: Sequence[OpenFault], heard: Sequence[datetime], now: datetime
) -> tuple[Any, ...] | None:
    """The device's id and its new `_CHANGED`; None: nothing is new."""
    habit = Habit(row["timezone"], row["trading_hours"], heard)
    trading = trading_probability(habit, now) if row["presence"] != Presence.ONLINE else None
    condition = condition_of(judge(Presence(row["presence"]), row["presence_reason"], trading), faults)
    worst = worst_code(faults)
    if condition == row["condition"] and worst == row["worst_code"] and condition.rank == row["condition_rank"]:
        return None
    since = row["condition_since"] if condition == row["condition"] else now
    return row["id"], str(condition), condition.rank, since, worst


def _needs_habit(row: Mapping[str, Any]) -> bool:
    return row["presence"] != Presence.ONLINE and row["trading_hours"] is None


def _devices(session: Session, tenant_id: str, device_ids: list[str]) -> list[Mapping[str, Any]]:
    names = ("id", "presence", "presence_reason", "condition", "condition_rank", "condition_since", "worst_code")
    statement = (
        select(*(_DEVICE.c[name] for name in names), _SITE.c.timezone, _SITE.c.trading_hours)
        .join(_SITE, _SITE.c.id == _DEVICE.c.site_id)
        .where(only_compared(_DEVICE.c.tenant_id) == tenant_id, one_of(session, _DEVICE.c.id, device_ids))
        .order_by(_DEVICE.c.id)
    )
    return [dict(row) for row in session.execute(statement).mappings()]


def _open_faults(session: Session, tenant_id: str, device_ids: list[str]) -> dict[str, list[OpenFault]]:
    statement = select(_FAULT.c.device_id, _FAULT.c.code, _FAULT.c.severity, _FAULT.c.raised_at).where(
        _FAULT.c.tenant_id == tenant_id, _FAULT.c.is_open, one_of(session, _FAULT.c.device_id, device_ids)
    )
    found: defaultdict[str, list[OpenFault]] = defaultdict(list)
    for device_id, code, severity, raised_at in session.execute(statement):
        found[device_id].append(OpenFault(code, _SEVERITIES[severity], raised_at))
    return found


def _heard_hours(session: Session, rows: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, list[datetime]]:
    if not rows:
        return {}
    statement = select(_HEARD.c.device_id, _HEARD.c.hour_at).where(
        _HEARD.c.device_id.in_([row["id"] for row in rows]), _HEARD.c.hour_at >= now - LOOK_BACK
    )
    found: defaultdict[str, list[datetime]] = defaultdict(list)
    for device_id, hour_at in session.execute(statement):
        found[device_id].append(hour_at)
    return found


def _owner(code: str) -> Owner:
    known = codes.get(code)
    # A code that the catalogue does not know came from a device: somebody should look at it.
    return Owner.DEVICE if known is None else known.owner
