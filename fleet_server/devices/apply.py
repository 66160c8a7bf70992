"""What a device said about itself, written down in the caller's transaction: hello, presence, capabilities, that it was
heard. Nothing here commits; each function answers the events that the caller appends, and whose condition changed. The
caller holds the devices (`fleet_server.devices.holding`); the sweeps do it themselves.

Invariant: a will or a goodbye ends only the session it names, in whatever order it and the hello arrive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Any

import msgspec
from sqlalchemy import bindparam, select, update
from sqlmodel import Session

from fleet_server.devices import condition
from fleet_server.devices.holding import hold
from fleet_server.devices.models import Capability, Device, HeardHour
from fleet_server.devices.presence import Presence, Reason, expected_by
from fleet_server.faults.models import Fault
from fleet_server.kit import bulk
from fleet_server.kit.lookup import one_of, only_compared
from fleet_server.kit.times import to_ms
from fleet_server.timeline.writer import NewEvent
from protocol.capabilities import Capabilities
from protocol.capabilities import digest as digest_of
from protocol.session import Hello, PresenceStatus
from protocol.session import Presence as PresenceWord

_DEVICE = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_CAPABILITY = Capability.__table__  # type: ignore[attr-defined]  # as above
_HEARD = HeardHour.__table__  # type: ignore[attr-defined]  # as above
MISSED_LIMIT = 500
_FOREVER_S = 1e12
LINE_SILENT = "agent.LINE_SILENT"
CLOCK_AHEAD = "agent.CLOCK_AHEAD"
# A link's trusted time was ours once: what it is ahead beside slow answers and servers that differ, somebody told it.
_AHEAD_FROM_S = 600
_FAULT = Fault.__table__  # type: ignore[attr-defined]  # as above
_CLOCKS = ("clock_offset_ms", "mono_offset_ms")
# What a device's declaration writes into its row.
_TOLD = ("model", "family", "firmware", "capability_digest")
_SET_CLOCKS_RIGHT = (
    update(_DEVICE)
    .where(_DEVICE.c.id == bindparam("link"), _DEVICE.c.boot == bindparam("of_boot"))
    .values(
        mono_offset_ms=bindparam("right_ms"),
        clock_offset_ms=_DEVICE.c.clock_offset_ms + _DEVICE.c.mono_offset_ms - bindparam("right_ms"),
    )
)
_STATUS = {Presence.ONLINE: "online", Presence.OFFLINE: "offline", Presence.UNKNOWN: "silent"}


@dataclass(slots=True)
class Applied:
    """What to append to the timeline, and which devices' condition has to be looked at again."""

    events: list[NewEvent] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class HelloAnswer:
    applied: Applied
    wants_capabilities: bool


def apply_hello(
    session: Session, tenant_id: str, link_id: str, hello: Hello, now: datetime, came_at: datetime
) -> HelloAnswer:
    rows = {row["id"]: row for row in _of_link(session, tenant_id, link_id)}
    own = rows[link_id]
    is_over = hello.session == own["ended_session"]
    clocks = (hello.wall_ms - to_ms(came_at), to_ms(came_at) - hello.mono_ms)
    if hello.session == own["session"] and own["mono_offset_ms"] is not None and own["mono_offset_ms"] < clocks[1]:
        # Said once more, and longer on its way.
        clocks = (own["clock_offset_ms"], own["mono_offset_ms"])
    values = {
        "session": hello.session,
        "nonce": hello.nonce,
        "boot": hello.boot,
        "agent_version": hello.agent_version,
        "profile": str(hello.profile),
        "keepalive_s": hello.keepalive_s,
        "report_s": hello.report_s,
        "clock_offset_ms": clocks[0],
        "mono_offset_ms": clocks[1],
        "last_seen_at": now,
        "expected_by": None if is_over else expected_by(now, hello.report_s, hello.keepalive_s),
    }
    session.connection().execute(update(_DEVICE).where(_DEVICE.c.id == link_id), values)
    applied = Applied()
    ahead_s = (hello.trusted_ms - to_ms(now)) // 1000
    if ahead_s > _AHEAD_FROM_S:
        data = {"code": CLOCK_AHEAD, "detail": f"by {ahead_s} s"}
        applied.events.append(NewEvent(link_id, "security", now, data))
    alive = {one.device for one in hello.devices if one.alive}
    if not is_over:
        _move(session, [own], Presence.ONLINE, "", now, applied)
        silent = _silent_lines(session, tenant_id, rows.keys() - alive - {link_id})
        lost = [row for id_, row in rows.items() if id_ in silent]
        _move(session, lost, Presence.UNKNOWN, Reason.LINE, now, applied)
        there = [row for id_, row in rows.items() if id_ != link_id and id_ not in silent]
        _move(session, there, Presence.ONLINE, "", now, applied)
    return HelloAnswer(applied, hello.capability_digest != own["capability_digest"])


def set_clocks_right(session: Session, offsets: Mapping[str, tuple[str, int]]) -> None:
    """``offsets``: of each of these links the boot, and its server time minus monotonic time, ms; absolute, since
    another worker may have written it already.
    """
    rows = [{"link": id_, "of_boot": boot, "right_ms": ms} for id_, (boot, ms) in sorted(offsets.items())]
    session.connection().execute(_SET_CLOCKS_RIGHT, rows)


def apply_presence(session: Session, tenant_id: str, link_id: str, presence: PresenceWord, now: datetime) -> Applied:
    """Only an ending changes anything; that a link is online is its hello's word."""
    applied = Applied()
    if presence.status is PresenceStatus.ONLINE:
        return applied
    rows = _of_link(session, tenant_id, link_id)
    ended = update(_DEVICE).where(_DEVICE.c.id == link_id)
    session.connection().execute(ended, {"ended_session": presence.session})
    own = [row for row in rows if row["id"] == link_id]
    if own[0]["session"] == presence.session:
        session.connection().execute(ended, {"expected_by": None})
        _move(session, own, Presence.OFFLINE, presence.reason, now, applied)
        attached = [row for row in rows if row["id"] != link_id]
        _move(session, attached, Presence.UNKNOWN, Reason.GATEWAY, now, applied)
    return applied


def apply_capabilities(
    session: Session, tenant_id: str, link_id: str, declared: Capabilities, now: datetime
) -> Applied:
    """Declarations for devices that are not the link's own are left out."""
    rows = {row["id"]: row for row in _of_link(session, tenant_id, link_id)}
    own = {one.device: one for one in declared.devices if one.device in rows}
    digest = digest_of(declared)
    if all(rows[id_]["capability_digest"] == digest for id_ in own.keys() | {link_id}):
        # Said once more, as its hello was repeated before it was answered.
        return Applied()
    documents = [
        {
            "device_id": id_,
            "tenant_id": tenant_id,
            "digest": digest,
            "document": msgspec.to_builtins(one),
            "received_at": now,
        }
        for id_, one in own.items()
    ]
    conflict = bulk.OnConflict(("device_id",), ("digest", "document", "received_at"))
    bulk.write(session, _CAPABILITY, documents, conflict)
    told = {id_: (one.model or rows[id_]["model"], one.family, one.firmware, digest) for id_, one in own.items()}
    if link_id not in told:
        told[link_id] = (*(rows[link_id][name] for name in _TOLD[:-1]), digest)
    changed = [(id_, *values) for id_, values in told.items() if values != tuple(rows[id_][name] for name in _TOLD)]
    bulk.update(session, _DEVICE, "id", _TOLD, changed)
    news = [id_ for id_ in own if rows[id_]["capability_digest"] != digest]
    return Applied([NewEvent(id_, "capabilities", now, {"digest": digest}) for id_ in news])


def set_line(session: Session, tenant_id: str, alive: Mapping[str, bool], now: datetime) -> Applied:
    """Attached devices that stopped answering on their line, or do again; a gateway away hides both."""
    applied = Applied()
    rows = _by_id(session, tenant_id, alive)
    known = [row for row in rows if row["kind"] == "attached" and row["presence_reason"] != Reason.GATEWAY]
    _move(session, [row for row in known if alive[row["id"]]], Presence.ONLINE, "", now, applied)
    _move(session, [row for row in known if not alive[row["id"]]], Presence.UNKNOWN, Reason.LINE, now, applied)
    return applied


def touch(session: Session, tenant_id: str, heard: Mapping[str, datetime | None], now: datetime) -> Applied:
    """Devices that were heard, with the moment until which each link may be silent again (None: an attached device)."""
    applied = Applied()
    if not heard:
        return applied
    rows = _by_id(session, tenant_id, heard)
    changes = [(row["id"], now, heard[row["id"]] if _is_awaited(row) else None) for row in rows]
    bulk.update(session, _DEVICE, "id", ("last_seen_at", "expected_by"), changes)
    back = [row for row in rows if row["presence_reason"] == Reason.NOT_HEARD and heard[row["id"]] is not None]
    _move(session, back, Presence.ONLINE, "", now, applied)
    if back:
        behind = _attached(session, tenant_id, [row["id"] for row in back])
        _move(session, [r for r in behind if r["presence_reason"] == Reason.GATEWAY], Presence.ONLINE, "", now, applied)
    return applied


def note_hour(session: Session, tenant_id: str, device_ids: Iterable[str], hour: datetime) -> None:
    """What habits are learned from."""
    rows = [{"device_id": id_, "hour_at": hour, "tenant_id": tenant_id} for id_ in sorted(device_ids)]
    bulk.write(session, _HEARD, rows)


def sweep_presence(session: Session, tenant_id: str, now: datetime, listening_s: float | None) -> list[NewEvent]:
    """For the scheduler, each few seconds: the events to append in the same transaction.

    ``listening_s`` None: while no ingest worker listens, silence says nothing about the devices.
    """
    if listening_s is None:
        return []
    applied = mark_missed(session, tenant_id, now, listening_s)
    condition.recompute(session, tenant_id, applied.changed, now)
    return applied.events


def mark_missed(session: Session, tenant_id: str, now: datetime, listening_s: float = inf) -> Applied:
    """Links that should have been heard by now, and would have been, by workers who have listened for so long; what is
    attached to them becomes unknown with them.
    """
    applied = Applied()
    missed = select(_DEVICE.c.id).where(
        _DEVICE.c.tenant_id == tenant_id,
        _DEVICE.c.expected_by < now,
        _DEVICE.c.presence == Presence.ONLINE,
        _DEVICE.c.report_s + 1.5 * _DEVICE.c.keepalive_s < min(listening_s, _FOREVER_S),
    )
    found = list(session.execute(missed.order_by(_DEVICE.c.id).limit(MISSED_LIMIT)).scalars())
    if not found:
        return applied
    hold(session, found, found)
    # Looked at again: what was heard while this waited for the rows is not missed.
    rows = _rows(session, _DEVICE.c.id.in_(found), _DEVICE.c.expected_by < now, _DEVICE.c.presence == Presence.ONLINE)
    missed_ids = [row["id"] for row in rows]
    _move(session, rows, Presence.UNKNOWN, Reason.NOT_HEARD, now, applied)
    session.connection().execute(update(_DEVICE).where(_DEVICE.c.id.in_(missed_ids)), {"expected_by": None})
    behind = _attached(session, tenant_id, missed_ids)
    _move(session, behind, Presence.UNKNOWN, Reason.GATEWAY, now, applied)
    return applied


def _silent_lines(session: Session, tenant_id: str, device_ids: Collection[str]) -> set[str]:
    """Those known not to answer. An agent that has just begun has heard none of them yet, so its hello alone proves no
    silence; a line that stays silent becomes a fault in seconds.
    """
    if not device_ids:
        return set()
    statement = select(_FAULT.c.device_id).where(
        _FAULT.c.tenant_id == tenant_id,
        _FAULT.c.is_open,
        only_compared(_FAULT.c.code) == LINE_SILENT,
        _FAULT.c.device_id.in_(sorted(device_ids)),
    )
    return set(session.execute(statement).scalars())


def _is_awaited(row: Mapping[str, Any]) -> bool:
    return bool(row["kind"] != "attached" and row["presence"] != Presence.OFFLINE)


def _move(
    session: Session,
    rows: Sequence[Mapping[str, Any]],
    presence: Presence,
    reason: str,
    now: datetime,
    applied: Applied,
) -> None:
    moved = [row for row in rows if (row["presence"], row["presence_reason"]) != (presence, reason)]
    if not moved:
        return
    ids = [row["id"] for row in moved]
    statement = update(_DEVICE).where(one_of(session, _DEVICE.c.id, ids))
    values: dict[str, Any] = {"presence": str(presence), "presence_since": now, "presence_reason": str(reason)}
    if presence is Presence.ONLINE:
        values["last_seen_at"] = now
    session.connection().execute(statement, values)
    data = {"status": _STATUS[presence], "reason": str(reason)}
    applied.events += [NewEvent(id_, "presence", now, data) for id_ in ids]
    applied.changed |= set(ids)


def _of_link(session: Session, tenant_id: str, link_id: str) -> list[Mapping[str, Any]]:
    return _rows(session, only_compared(_DEVICE.c.tenant_id) == tenant_id, _DEVICE.c.link_id == link_id)


def _by_id(session: Session, tenant_id: str, device_ids: Iterable[str]) -> list[Mapping[str, Any]]:
    wanted = sorted(device_ids)
    return (
        _rows(session, only_compared(_DEVICE.c.tenant_id) == tenant_id, one_of(session, _DEVICE.c.id, wanted))
        if wanted
        else []
    )


def _attached(session: Session, tenant_id: str, link_ids: list[str]) -> list[Mapping[str, Any]]:
    if not link_ids:
        return []
    return _rows(
        session,
        only_compared(_DEVICE.c.tenant_id) == tenant_id,
        _DEVICE.c.link_id.in_(link_ids),
        _DEVICE.c.kind == "attached",
    )


def _rows(session: Session, *conditions: Any) -> list[Mapping[str, Any]]:
    names = ("id", "kind", "session", "ended_session", "presence", "presence_reason", *_CLOCKS, *_TOLD)
    statement = select(*(_DEVICE.c[name] for name in names)).where(*conditions)
    found = session.connection().execute(statement.order_by(_DEVICE.c.id)).all()
    return [dict(zip(names, row, strict=True)) for row in found]
