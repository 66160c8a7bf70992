"""Faults raised and cleared, written down in the caller's transaction, in whatever order they arrive.

A raising is named by (device, code, the device's own moment of it). Invariants: each raising and each clearing makes
one event, however often and in whatever order it is told; of the open raisings of one code on one device only the
latest stays open, for a device has a fault or has it not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlmodel import Session

from fleet_server.faults.models import Fault
from fleet_server.kit import bulk
from fleet_server.kit.identifiers import uuid7
from fleet_server.timeline.writer import NewEvent
from protocol.catalogue import codes
from protocol.records import FaultCleared, FaultRaised, Severity

_FAULT = Fault.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_CONFLICT = bulk.OnConflict(
    ("device_id", "code", "raised_ms"),
    ("severity", "raised_at", "last_seen_at", "cleared_at", "is_open", "count", "evidence"),
)
# The column holds 32 bits.
_MAX_COUNT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class FaultReport:
    """``first_at``: when the fault began, by our clock. ``at``: when this was recorded, by our clock."""

    device_id: str
    body: FaultRaised | FaultCleared
    first_at: datetime
    at: datetime


@dataclass(slots=True)
class FaultsApplied:
    events: list[NewEvent] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    # Codes that are open or were closed by this, for whoever has to act on one: (device, code) -> open.
    is_open: dict[tuple[str, str], bool] = field(default_factory=dict)


@dataclass(slots=True)
class _Raising:
    """One row. ``count`` 0: only its clearing has arrived yet."""

    id: str
    device_id: str
    code: str
    severity: str
    raised_ms: int
    raised_at: datetime
    last_seen_at: datetime
    cleared_at: datetime | None
    is_open: bool
    count: int
    evidence: str


def apply_faults(session: Session, tenant_id: str, reports: Sequence[FaultReport], now: datetime) -> FaultsApplied:
    """Only reports that were not applied before; repetitions of a record are the caller's to leave out."""
    applied = FaultsApplied()
    if not reports:
        return applied
    known = _Known(_read(session, tenant_id, reports))
    for report in reports:
        _apply_one(known, report, now, applied)
    rows = [_row(tenant_id, raising) for raising in known.changed()]
    bulk.write(session, _FAULT, rows, _CONFLICT)
    for raising in known.changed():
        applied.changed.add(raising.device_id)
        applied.is_open[raising.device_id, raising.code] = known.has_open(raising.device_id, raising.code)
    return applied


class _Known:
    """The raisings that the reports touch, by name, and which of them were changed."""

    def __init__(self, raisings: Sequence[_Raising]) -> None:
        self._by_code: defaultdict[tuple[str, str], dict[int, _Raising]] = defaultdict(dict)
        self._changed: dict[str, _Raising] = {}
        for raising in raisings:
            self._by_code[raising.device_id, raising.code][raising.raised_ms] = raising

    def get(self, device_id: str, code: str, raised_ms: int) -> _Raising | None:
        return self._by_code[device_id, code].get(raised_ms)

    def others(self, raising: _Raising) -> list[_Raising]:
        return [one for one in self._by_code[raising.device_id, raising.code].values() if one is not raising]

    def has_open(self, device_id: str, code: str) -> bool:
        return any(one.is_open for one in self._by_code[device_id, code].values())

    def put(self, raising: _Raising) -> None:
        self._by_code[raising.device_id, raising.code][raising.raised_ms] = raising
        self._changed[raising.id] = raising

    def changed(self) -> list[_Raising]:
        return list(self._changed.values())


def _apply_one(known: _Known, report: FaultReport, now: datetime, applied: FaultsApplied) -> None:
    body = report.body
    if isinstance(body, FaultRaised):
        raising = known.get(report.device_id, body.code, body.first_seen_ms)
        if raising is None:
            raising = _new(report, body.code, body.first_seen_ms, now)
        _raise(known, raising, body, report, applied)
    else:
        raising = known.get(report.device_id, body.code, body.raised_ms)
        if raising is None:
            raising = _new(report, body.code, body.raised_ms, now)
        _clear(raising, body, report, applied)
    known.put(raising)


def _raise(known: _Known, raising: _Raising, body: FaultRaised, report: FaultReport, applied: FaultsApplied) -> None:
    is_first = raising.count == 0
    raising.severity = str(body.severity)
    raising.evidence = body.evidence or raising.evidence
    raising.count = max(raising.count, min(max(body.count, 1), _MAX_COUNT))
    raising.last_seen_at = max(raising.last_seen_at, report.at)
    if not is_first:
        return
    raising.raised_at = report.first_at
    raising.is_open = raising.cleared_at is None
    data = {"code": raising.code, "severity": raising.severity, "evidence": raising.evidence, "fault": raising.id}
    applied.events.append(NewEvent(raising.device_id, "fault_raised", raising.raised_at, data))
    if raising.is_open:
        _leave_only_latest_open(known, raising, applied)


def _leave_only_latest_open(known: _Known, raising: _Raising, applied: FaultsApplied) -> None:
    """An agent that lost its memory raises anew what it can no longer clear."""
    for other in known.others(raising):
        if other.is_open:
            older, newer = sorted((other, raising), key=lambda one: (one.raised_at, one.raised_ms))
            _close(older, newer.raised_at, applied)
            known.put(older)


def _clear(raising: _Raising, body: FaultCleared, report: FaultReport, applied: FaultsApplied) -> None:
    raising.evidence = body.evidence or raising.evidence
    if raising.is_open or raising.cleared_at is None:
        _close(raising, report.at, applied)
    # The device's own word stands above the end that was concluded from a later raising.
    raising.cleared_at = report.at
    if raising.count:
        raising.count = max(raising.count, min(body.count, _MAX_COUNT))


def _close(raising: _Raising, at: datetime, applied: FaultsApplied) -> None:
    raising.is_open = False
    raising.cleared_at = at
    lasted_s = max(0.0, (at - raising.raised_at).total_seconds())
    data = {"code": raising.code, "fault": raising.id, "lasted_s": round(lasted_s, 3)}
    applied.events.append(NewEvent(raising.device_id, "fault_cleared", at, data))


def _new(report: FaultReport, code: str, raised_ms: int, now: datetime) -> _Raising:
    known = codes.get(code)
    severity = known.severity.value if known is not None else str(Severity.MINOR)
    return _Raising(
        uuid7(now), report.device_id, code, severity, raised_ms, report.first_at, report.first_at, None, False, 0, ""
    )


def _read(session: Session, tenant_id: str, reports: Sequence[FaultReport]) -> list[_Raising]:
    devices = sorted({report.device_id for report in reports})
    names = sorted({report.body.code for report in reports})
    moments = sorted({r.body.first_seen_ms if isinstance(r.body, FaultRaised) else r.body.raised_ms for r in reports})
    columns = [_FAULT.c[name] for name in _Raising.__slots__]
    statement = select(*columns).where(
        _FAULT.c.tenant_id == tenant_id,
        _FAULT.c.device_id.in_(devices),
        _FAULT.c.code.in_(names),
        or_(_FAULT.c.is_open, _FAULT.c.raised_ms.in_(moments)),
    )
    return [_Raising(*row) for row in session.execute(statement)]


def _row(tenant_id: str, raising: _Raising) -> dict[str, Any]:
    return {name: getattr(raising, name) for name in _Raising.__slots__} | {"tenant_id": tenant_id}
