"""Dead letters played again after an upgrade: what the present code understands goes where it should have gone.

Only records of streams are played. A hello or presence of the past is not true any more, and a batch that could not be
read as a whole was never acknowledged: its sender sends it again.

Invariants: a letter leaves in the transaction that stores its record, or stays as it is. Watermarks, acknowledgements
and what is known of being heard are not touched: the number of the record was passed over when the letter was made,
and one that the stream's row does not hold as passed over is still its sender's to send.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import RowMapping, delete, func, select, tuple_
from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor
from fleet_server.devices import condition
from fleet_server.devices.holding import hold
from fleet_server.health.models import HealthBlock
from fleet_server.ingest import gaps
from fleet_server.ingest.decode import Entry, decode_entry
from fleet_server.ingest.directory import Directory, KnownLink
from fleet_server.ingest.flush import write_work
from fleet_server.ingest.models import DeadLetter, LinkStream, StoredRecord
from fleet_server.ingest.sorting import Sorter
from fleet_server.kit.lookup import among
from fleet_server.timeline.writer import append_events
from protocol.codec import UNREADABLE
from protocol.records import Record
from protocol.streams import Received, StreamKind

# Letters of one transaction, and bytes of them, unless the first alone is longer.
PIECE = 200
PIECE_BYTES = 4 * 1024 * 1024
RECORD_KIND = "record"
_DEAD = DeadLetter.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_STREAM = LinkStream.__table__  # type: ignore[attr-defined]  # as above
_RECORD = StoredRecord.__table__  # type: ignore[attr-defined]  # as above
_BLOCK = HealthBlock.__table__  # type: ignore[attr-defined]  # as above

Key = tuple[str, str, int]


@dataclass(slots=True)
class Replayed:
    """``taken``: stored now, or stored before; ``left``: by why they stay. ``last_id``: where the next piece begins."""

    taken: int
    left: Counter[str]
    event_ids: list[int]
    last_id: int | None


@dataclass(frozen=True, slots=True)
class _Played:
    id: int
    link: KnownLink
    stream: str
    entry: Entry

    @property
    def key(self) -> Key:
        return self.link.id, self.stream, self.entry.seq

    @property
    def keys(self) -> list[Key]:
        """Also the one that it had before its spool was damaged."""
        was = self.entry.record.was if isinstance(self.entry.record, Record) else None
        return [self.key] if was is None else [self.key, (self.link.id, was.stream, was.seq)]


def replay(
    session: Session, actor: Actor, now: datetime, *, after_id: int = 0, ids: Collection[int] | None = None
) -> Replayed:
    """One piece, oldest first, of the actor's tenant; of ``ids`` only, if given."""
    letters = _read(session, actor.tenant_id, after_id, ids)
    done = Replayed(0, Counter(), [], letters[-1]["id"] if letters else None)
    played = _understood(session, letters, done.left)
    hold(session, {str(one.entry.record.device) for one in played if isinstance(one.entry.record, Record)})
    mine = _take(session, played)
    known = _stored_before(session, mine)
    sorter = Sorter(now)
    for one in mine:
        if known.isdisjoint(one.keys):
            sorter.take(one.link, one.stream, one.entry)
            known.update(one.keys)
    work = sorter.work[actor.tenant_id]
    work.events += [gaps.lose(None, link_id, body, at) for link_id, body, at in work.losses]
    write_work(session, actor.tenant_id, work, now)
    condition.recompute(session, actor.tenant_id, work.changed, now)
    done.taken = len(mine)
    if mine:
        counts = {"taken": done.taken, "left": done.left.total()}
        record(session, actor, "dead_letters_replayed", data=counts, now=now)
        session.flush()
    done.event_ids = append_events(session, actor.tenant_id, work.events, now)
    return done


def _read(session: Session, tenant_id: str, after_id: int, ids: Collection[int] | None) -> Sequence[RowMapping]:
    sizes = select(_DEAD.c.id, func.length(_DEAD.c.payload)).where(
        _DEAD.c.tenant_id == tenant_id, _DEAD.c.id > after_id
    )
    if ids is not None:
        sizes = sizes.where(_DEAD.c.id.in_(sorted(ids)))
    piece: list[int] = []
    size_bytes = 0
    for id_, size in session.execute(sizes.order_by(_DEAD.c.id).limit(PIECE)):
        size_bytes += size
        if piece and size_bytes > PIECE_BYTES:
            break
        piece.append(id_)
    letters = select(_DEAD).where(_DEAD.c.id.in_(piece)).order_by(_DEAD.c.id)
    return session.execute(letters).mappings().all() if piece else []


def _understood(session: Session, letters: Sequence[RowMapping], left: Counter[str]) -> list[_Played]:
    links = Directory().find(session, {letter["link_id"] for letter in letters}, 0.0)
    streams = _streams(session, {(letter["link_id"], letter["stream"]) for letter in letters if letter["stream"]})
    played = []
    for letter in letters:
        answer = _play(letter, links, streams)
        if isinstance(answer, str):
            left[answer] += 1
        else:
            played.append(answer)
    return played


def _play(
    letter: RowMapping, links: dict[str, KnownLink], streams: dict[tuple[str, str], tuple[StreamKind, Received]]
) -> _Played | str:
    """The letter as a record, or why it stays."""
    link, passed = links.get(letter["link_id"]), streams.get((letter["link_id"], letter["stream"]))
    if letter["topic_kind"] != RECORD_KIND:
        return "not_a_record"
    if link is None:
        return "stranger"
    if passed is None or not passed[1].holds(letter["seq"]):
        return "not_passed_over"
    entry = _decoded(letter, passed[0])
    if entry is None:
        return "not_decodable"
    if not isinstance(entry.record, Record):
        return entry.record.code
    if entry.record.device not in link.devices:
        return "foreign_device"
    return _Played(letter["id"], link, letter["stream"], entry)


def _decoded(letter: RowMapping, kind: StreamKind) -> Entry | None:
    """As in the batch that it came in. None: only its beginning was kept."""
    try:
        raw = msgspec.json.decode(letter["payload"], type=msgspec.Raw)
    except UNREADABLE:
        return None
    return decode_entry(letter["seq"], raw, kind)


def _streams(session: Session, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], tuple[StreamKind, Received]]:
    if not keys:
        return {}
    columns = (_STREAM.c.link_id, _STREAM.c.stream, _STREAM.c.kind, _STREAM.c.upto, _STREAM.c.beyond)
    rows = session.execute(select(*columns).where(among(session, _STREAM.c.link_id, _STREAM.c.stream, sorted(keys))))
    return {
        (link, stream): (StreamKind(kind), Received(upto, [(low, high) for low, high in beyond]))
        for link, stream, kind, upto, beyond in rows
    }


def _take(session: Session, played: Sequence[_Played]) -> list[_Played]:
    """Those that nobody else has taken meanwhile, in the order of their streams."""
    if not played:
        return []
    ids = [one.id for one in played]
    taken = set(session.execute(delete(_DEAD).where(_DEAD.c.id.in_(ids)).returning(_DEAD.c.id)).scalars())
    return sorted((one for one in played if one.id in taken), key=lambda one: one.key)


def _stored_before(session: Session, played: Sequence[_Played]) -> set[Key]:
    """Such as after a restore, when a letter came back and its sender sent the record again."""
    if not played:
        return set()
    keys = [key for one in played for key in one.keys]
    devices = {str(one.entry.record.device) for one in played if isinstance(one.entry.record, Record)}
    found: set[Key] = set()
    # Blocks are found by their device: they have no key of their own. SQLite finds nothing by a tuple of three.
    by_link = _RECORD.c.link_id.in_({one.link.id for one in played})
    for table, narrowed in ((_RECORD, by_link), (_BLOCK, _BLOCK.c.device_id.in_(devices))):
        named = tuple_(table.c.link_id, table.c.stream, table.c.seq)
        rows = session.execute(select(table.c.link_id, table.c.stream, table.c.seq).where(narrowed, named.in_(keys)))
        found |= {(link, stream, seq) for link, stream, seq in rows}
    return found
