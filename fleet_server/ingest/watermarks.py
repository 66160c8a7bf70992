"""How far each stream is committed: the rows that make a record new or a repetition.

Invariant: whoever stores a record of a stream holds that stream's row from `lock` to the commit and saves it in the
same transaction, so a number that `protocol.streams.Received` does not hold was never stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlmodel import Session

from fleet_server.ingest.models import LinkStream
from fleet_server.kit import bulk
from fleet_server.kit.lookup import among, one_of
from protocol.streams import MAX_ACK_STREAMS, Received, StreamAck

# Ranges beyond the contiguous prefix that one stream may have; a batch that would make more is not taken yet.
MAX_BEYOND = 256
# A link makes a stream anew only when its spool file is made anew.
MAX_STREAMS_PER_LINK = 64

StreamKey = tuple[str, str]
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_TABLE = LinkStream.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
# In the order of `StreamState`. When a row was written is for people alone.
_COLUMNS = [column for column in _TABLE.c if column.name != "updated_at"]
_MANY = select(*_COLUMNS).order_by(_TABLE.c.link_id, _TABLE.c.stream).with_for_update()
_ONE = _MANY.where(_TABLE.c.link_id == bindparam("of_link"), _TABLE.c.stream == bindparam("of_stream"))
_CONFLICT = bulk.OnConflict(
    ("link_id", "stream"),
    ("upto", "beyond", "last_known", "shed", "updated_at", "gap_since", "gap_first", "gap_last", "gap_shown"),
)


@dataclass(slots=True)
class StreamState:
    """One row, changed in memory and written once by `save`."""

    link_id: str
    stream: str
    tenant_id: str
    kind: str
    received: Received
    last_known: int
    shed: int
    gap_since: datetime | None
    gap_first: int
    gap_last: int
    gap_shown: bool

    def ack(self) -> StreamAck:
        return self.received.ack(self.stream)

    def has_room_for(self, first: int, last: int) -> bool:
        if len(self.received.beyond) < MAX_BEYOND or first <= self.received.upto + 1:
            return True
        return any(low - 1 <= first and last <= high + 1 for low, high in self.received.beyond)


def lock(session: Session, wanted: Mapping[StreamKey, tuple[str, str]]) -> dict[StreamKey, StreamState]:
    """The rows of ``wanted`` (key: tenant, kind), made where they are missing; without those of a link that has too
    many. Always locked in the same order, so that two workers wait instead of dying together.
    """
    states = _read(session, wanted)
    missing = sorted(key for key in wanted if key not in states)
    if missing:
        allowed = _within_limit(session, missing)
        rows = [_new_row(key, *wanted[key]) for key in allowed]
        bulk.write(session, _TABLE, rows)
        states |= _read(session, allowed)
    return states


def read_link(session: Session, tenant_id: str, link_id: str) -> list[StreamState]:
    """All streams of a link, without a lock."""
    statement = select(*_COLUMNS).where(_TABLE.c.link_id == link_id, _TABLE.c.tenant_id == tenant_id)
    return [_state(row) for row in session.execute(statement)]


def acks_of(session: Session, links: Sequence[str]) -> list[tuple[str, StreamAck]]:
    """Where streams of links stand, without a lock; of each link those that moved last, as many as an ack may name."""
    moved = select(_TABLE.c.link_id, _TABLE.c.stream, _TABLE.c.upto, _TABLE.c.beyond)
    wanted = moved.where(one_of(session, _TABLE.c.link_id, links)).order_by(_TABLE.c.updated_at.desc())
    told: Counter[str] = Counter()
    found = []
    for link, stream, upto, beyond in session.execute(wanted):
        told[link] += 1
        if told[link] <= MAX_ACK_STREAMS:
            found.append((str(link), Received(upto, [(low, high) for low, high in beyond]).ack(stream)))
    return found


def save(session: Session, states: Iterable[StreamState], now: datetime) -> None:
    rows = [
        {
            "link_id": state.link_id,
            "stream": state.stream,
            "tenant_id": state.tenant_id,
            "kind": state.kind,
            "upto": state.received.upto,
            "beyond": [list(span) for span in state.received.beyond],
            "last_known": state.last_known,
            "shed": state.shed,
            "updated_at": now,
            "gap_since": state.gap_since,
            "gap_first": state.gap_first,
            "gap_last": state.gap_last,
            "gap_shown": state.gap_shown,
        }
        for state in states
    ]
    bulk.write(session, _TABLE, rows, _CONFLICT)


def _read(session: Session, keys: Iterable[StreamKey]) -> dict[StreamKey, StreamState]:
    wanted = sorted(keys)
    if not wanted:
        return {}
    connection = session.connection()
    if len(wanted) == 1:
        # A lone report is what somebody waits for.
        rows = connection.execute(_ONE, {"of_link": wanted[0][0], "of_stream": wanted[0][1]})
    else:
        rows = connection.execute(_MANY.where(among(session, _TABLE.c.link_id, _TABLE.c.stream, wanted)))
    return {(row[0], row[1]): _state(row) for row in rows.all()}


def _state(row: Sequence[Any]) -> StreamState:
    """From a row of ``_COLUMNS``."""
    link_id, stream, tenant_id, kind, upto, beyond, last_known, shed, *gap = row
    received = Received(upto, [(low, high) for low, high in beyond])
    return StreamState(link_id, stream, tenant_id, kind, received, last_known, shed, *gap)


def _new_row(key: StreamKey, tenant_id: str, kind: str) -> dict[str, object]:
    counts = dict.fromkeys(("upto", "last_known", "shed", "gap_first", "gap_last"), 0)
    names = {"link_id": key[0], "stream": key[1], "tenant_id": tenant_id, "kind": kind, "updated_at": _NEVER}
    return {**names, **counts, "beyond": [], "gap_since": None, "gap_shown": False}


def _within_limit(session: Session, missing: list[StreamKey]) -> list[StreamKey]:
    links = sorted({link for link, _ in missing})
    counted = session.execute(
        select(_TABLE.c.link_id, func.count()).where(_TABLE.c.link_id.in_(links)).group_by(_TABLE.c.link_id)
    ).all()
    room = dict.fromkeys(links, MAX_STREAMS_PER_LINK) | {link: MAX_STREAMS_PER_LINK - count for link, count in counted}
    allowed = []
    for key in missing:
        if room[key[0]] > 0:
            room[key[0]] -= 1
            allowed.append(key)
    return allowed
