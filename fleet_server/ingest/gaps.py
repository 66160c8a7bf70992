"""Gaps in a stream, told honestly: open, filled or declared. Pure but for `show_open`, which a sweep calls.

A short gap is normal, for workers commit in any order; one that lasts is shown. Records that the agent says it gave up
are declared by its tombstones.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from fleet_server.ingest import watermarks
from fleet_server.ingest.models import LinkStream
from fleet_server.ingest.watermarks import StreamState
from fleet_server.timeline.writer import NewEvent
from protocol.records import SpoolLost, Tombstone

SHOWN_AFTER = timedelta(seconds=30)
SWEEP_LIMIT = 200
_TABLE = LinkStream.__table__  # type: ignore[attr-defined]  # SQLModel tables have it


def note_position(state: StreamState, last: int, oldest_held: int, shed: int, now: datetime) -> None:
    """What the agent said in its hello: numbers below ``oldest_held`` it can no longer send."""
    state.last_known = max(state.last_known, last)
    state.shed = max(state.shed, shed)
    if oldest_held > state.received.upto + 1 and not state.received.holds(oldest_held - 1):
        state.gap_first, state.gap_last = state.received.upto + 1, oldest_held - 1
        state.gap_since = state.gap_since or now


def settle(state: StreamState, now: datetime, *, declared: bool) -> NewEvent | None:
    """After numbers were added: a gap begins, changes or ends. ``declared``: a tombstone was among what was added."""
    missing = state.received.missing()
    if missing:
        state.gap_first, state.gap_last = missing[0].first, missing[-1].last
        state.gap_since = state.gap_since or now
        return None
    if state.gap_since is None or state.received.upto < state.gap_last:
        return None
    was_shown = state.gap_shown
    event = _event(state.link_id, state.stream, state.gap_first, state.gap_last, "filled", "", now)
    state.gap_since, state.gap_first, state.gap_last, state.gap_shown = None, 0, 0, False
    return event if was_shown and not declared else None


def declared_by(link_id: str, body: Tombstone, at: datetime) -> NewEvent:
    return _event(link_id, body.stream, body.first_seq, body.last_seq, "declared", body.reason, at)


def lost_with(link_id: str, body: SpoolLost, at: datetime) -> NewEvent:
    """A spool file that could not be read any more; how much was in it beyond the last number known is not known."""
    first = max(1, body.last_known_seq - body.salvaged)
    return _event(link_id, body.old_stream, first, body.last_known_seq, "declared", "spool_lost", at)


def show_open(session: Session, tenant_id: str, now: datetime) -> list[NewEvent]:
    """Gaps that have lasted and are not shown yet; for the scheduler, each few seconds."""
    found = session.execute(
        select(_TABLE.c.link_id, _TABLE.c.stream, _TABLE.c.kind)
        .where(_TABLE.c.tenant_id == tenant_id, _TABLE.c.gap_since < now - SHOWN_AFTER, _TABLE.c.gap_shown.is_(False))
        .order_by(_TABLE.c.gap_since)
        .limit(SWEEP_LIMIT)
    ).all()
    wanted = {(link, stream): (tenant_id, kind) for link, stream, kind in found}
    # Locked and read again: ingest may have filled it since.
    states = [s for s in watermarks.lock(session, wanted).values() if s.gap_since is not None and not s.gap_shown]
    for state in states:
        state.gap_shown = True
    watermarks.save(session, states, now)
    return [_event(s.link_id, s.stream, s.gap_first, s.gap_last, "open", "", now) for s in states]


def _event(link_id: str, stream: str, first: int, last: int, state: str, reason: str, at: datetime) -> NewEvent:
    data: dict[str, Any] = {"stream": stream, "first": first, "last": last, "state": state, "reason": reason}
    return NewEvent(link_id, "gap", at, data)
