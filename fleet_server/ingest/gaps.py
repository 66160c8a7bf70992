"""Gaps in a stream, told honestly: open, filled or declared. Pure but for `show_open`, which a sweep calls.

A short gap is normal, for workers commit in any order; one that lasts is shown. Records that the agent says it gave up
are declared by its tombstones, or by its hello where no tombstone is left to tell.
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
from protocol.records import SpoolLost
from protocol.session import StreamPosition

SHOWN_AFTER = timedelta(seconds=30)
SWEEP_LIMIT = 200
# Why a gap was declared; a tombstone's own words are shown as they are.
SET_BACK = "set_back"
NO_ROOM = "no_room"
SPOOL_LOST = "spool_lost"
_TABLE = LinkStream.__table__  # type: ignore[attr-defined]  # SQLModel tables have it


def take_position(state: StreamState, said: StreamPosition, now: datetime) -> list[NewEvent]:
    """What the agent says in its hello that it no longer holds will never come, so nobody waits for it: the server was
    set back behind what it had acknowledged, the rest was given up for want of room.
    """
    state.last_known = max(state.last_known, said.last)
    state.shed = max(state.shed, said.shed)
    gone = said.oldest_held - 1 if said.oldest_held else said.last
    parts = ((1, min(gone, said.acked), SET_BACK), (said.acked + 1, gone, NO_ROOM))
    events = [event for first, last, why in parts if (event := declare(state, first, last, why, now)) is not None]
    if events:
        settle(state, now, declared=True)
    return events


def declare(state: StreamState, first: int, last: int, reason: str, at: datetime) -> NewEvent | None:
    """Numbers that will not come are passed over. None when the server has them all, or has said so before."""
    lacking = state.received.lacking(first, last)
    if not lacking:
        return None
    for span in lacking:
        state.received.add(span.first, span.last)
    event = _event(state.link_id, state.stream, lacking[0].first, lacking[-1].last, "declared", reason, at)
    event.data["count"] = sum(span.last - span.first + 1 for span in lacking)
    return event


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
    _forget(state)
    return event if was_shown and not declared else None


def lose(state: StreamState | None, link_id: str, body: SpoolLost, at: datetime) -> NewEvent:
    """A spool file could not be read any more. What was saved of it comes under other numbers, so the old stream's gap
    is no longer waited for; its numbers stay open for what names them as its first.
    """
    lacking = state.received.lacking(1, body.last_known_seq) if state is not None else []
    first = lacking[0].first if lacking else max(1, body.last_known_seq)
    event = _event(link_id, body.old_stream, first, max(first, body.last_known_seq), "declared", SPOOL_LOST, at)
    if lacking:
        event.data["count"] = max(0, sum(span.last - span.first + 1 for span in lacking) - body.salvaged)
    if state is not None:
        _forget(state)
    return event


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


def _forget(state: StreamState) -> None:
    state.gap_since, state.gap_first, state.gap_last, state.gap_shown = None, 0, 0, False


def _event(link_id: str, stream: str, first: int, last: int, state: str, reason: str, at: datetime) -> NewEvent:
    data: dict[str, Any] = {"stream": stream, "first": first, "last": last, "state": state, "reason": reason}
    return NewEvent(link_id, "gap", at, data)
