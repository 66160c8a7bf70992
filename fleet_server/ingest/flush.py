"""One flush: many messages, one transaction. What it answers may be told to anybody only after the commit.

Order inside: who speaks, their devices held, sessions, streams locked, new records and their effects, positions,
commands for those who said hello, conditions, events last (`fleet_server.timeline.writer`): the order of
`fleet_server.db`. A message that was applied before changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from sqlmodel import Session

from fleet_server.devices import apply as devices
from fleet_server.devices import condition
from fleet_server.devices.habit import hour_of
from fleet_server.devices.holding import hold
from fleet_server.devices.presence import expected_by
from fleet_server.executions.dispatch import Outgoing
from fleet_server.executions.reports import apply_reports
from fleet_server.faults.apply import apply_faults
from fleet_server.health.apply import apply_health
from fleet_server.ingest import gaps, watermarks
from fleet_server.ingest.dead_room import DeadRoom
from fleet_server.ingest.decode import (
    BatchMessage,
    CapabilitiesMessage,
    DeadMessage,
    Decoded,
    Entry,
    HelloMessage,
    PresenceMessage,
)
from fleet_server.ingest.directory import Directory, KnownLink
from fleet_server.ingest.heard import Heard
from fleet_server.ingest.models import DeadLetter, StoredRecord
from fleet_server.ingest.sorting import Sorter, TenantWork
from fleet_server.ingest.watermarks import StreamKey, StreamState
from fleet_server.kit import bulk
from fleet_server.timeline.writer import append_events
from protocol.records import FaultCleared, FaultRaised, Record, SpoolLost, Tombstone
from protocol.session import Hello
from protocol.streams import StreamAck, StreamKind

# What a link tells lags by the way of one answer; where it tells less than this, its hello was not late.
_BESIDE_FROM_MS = 1000
_RECORD = StoredRecord.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_DEAD = DeadLetter.__table__  # type: ignore[attr-defined]  # as above


class Dispatch(Protocol):
    """The part of `fleet_server.executions.dispatch.Dispatcher` that a hello needs."""

    def take_for_link(self, session: Session, tenant_id: str, link_id: str, now: datetime) -> Sequence[Outgoing]: ...


@dataclass(frozen=True, slots=True)
class Greeting:
    """A hello to be welcomed."""

    link: KnownLink
    hello: Hello
    wants_capabilities: bool
    streams: list[StreamAck]


@dataclass(frozen=True, slots=True)
class BatchAck:
    """Where a stream stands after its batches were committed."""

    link_id: str
    kind: StreamKind
    ack: StreamAck
    batches: int


@dataclass(slots=True)
class Flushed:
    """What to tell, and to whom, once the transaction is committed."""

    acks: list[BatchAck] = field(default_factory=list)
    greetings: list[Greeting] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    event_ids: list[int] = field(default_factory=list)
    heard: set[str] = field(default_factory=set)
    counters: Counter[str] = field(default_factory=Counter)


class Flush:
    """Everything that lives as long as the transaction. ``now_s`` is monotonic."""

    def __init__(
        self,
        session: Session,
        directory: Directory,
        heard: Heard,
        dispatch: Dispatch,
        now: datetime,
        now_s: float,
        room: DeadRoom | None = None,
    ) -> None:
        self._session = session
        self._room = room or DeadRoom()
        self._directory = directory
        self._heard = heard
        self._dispatch = dispatch
        self._now = now
        self._now_s = now_s
        self._sorter = Sorter(now)
        self._links: dict[str, KnownLink] = {}
        self._welcome: dict[str, tuple[Hello, bool]] = {}
        self.flushed = Flushed(counters=self._sorter.counters)

    def run(self, messages: Sequence[Decoded]) -> Flushed:
        self._links = self._find(message.link for message in messages if message.link is not None)
        known = self._last_hellos([message for message in messages if self._is_known(message)])
        self._look_again(known)
        self._hold_devices(known)
        for message in known:
            self._take_session(message)
        batches = [message for message in known if isinstance(message, BatchMessage)]
        self._set_clocks_right(batches)
        states = self._lock(batches)
        self._take_batches(batches, states)
        self._take_positions(states)
        watermarks.save(self._session, states.values(), self._now)
        work_by_tenant = sorted(self._sorter.work.items())
        for tenant_id, work in work_by_tenant:
            self._write(tenant_id, work)
        for tenant_id, work in work_by_tenant:
            self.flushed.event_ids += append_events(self._session, tenant_id, work.events, self._now)
        return self.flushed

    def _last_hellos(self, known: Sequence[Decoded]) -> list[Decoded]:
        """Of a session that said hello until it was answered, the last: it says all that those before it said, and came
        here as late as they did with clocks that were read later.
        """
        last = {(one.link, one.hello.session): one for one in known if isinstance(one, HelloMessage)}
        kept = [one for one in known if not isinstance(one, HelloMessage) or last[one.link, one.hello.session] is one]
        if len(kept) < len(known):
            self._sorter.counters["hellos_repeated"] += len(known) - len(kept)
        return kept

    def _hold_devices(self, known: Sequence[Decoded]) -> None:
        """All whose rows this flush may change: of links that speak of themselves or are written down as heard again
        with what hangs on them, of records the devices that are due for it or tell of a fault, links that tell of a
        hello that was long on its way.
        """
        links = {message.link for message in known if message.link and not isinstance(message, BatchMessage)}
        speakers, changing = set(), set()
        for message in known:
            if isinstance(message, BatchMessage):
                link = self._links[message.link]
                speakers.add(link.id)
                if message.mono_offset_ms is not None:
                    changing.add(link.id)
                for record in (entry.record for entry in message.entries if isinstance(entry.record, Record)):
                    if record.device in link.devices:
                        speakers.add(record.device)
                        if isinstance(record.body, FaultRaised | FaultCleared):
                            changing.add(record.device)
        due = set(self._heard.due(speakers, self._now_s))
        hold(self._session, due | changing, links | (due & self._links.keys()))

    def _find(self, link_ids: Iterable[str]) -> dict[str, KnownLink]:
        return self._directory.find(self._session, link_ids, self._now_s)

    def _look_again(self, known: Sequence[Decoded]) -> None:
        """A device may have been enrolled since its link was remembered."""
        unsure = {
            message.link
            for message in known
            if isinstance(message, BatchMessage)
            for entry in message.entries
            if isinstance(entry.record, Record) and entry.record.device not in self._links[message.link].devices
        }
        self._links |= self._directory.look_again(self._session, self._links, unsure, self._now_s)

    def _is_known(self, message: Decoded) -> bool:
        counters = self._sorter.counters
        counters["messages"] += 1
        if message.link is None:
            counters["topic"] += 1
            return False
        link = self._links.get(message.link)
        if link is None:
            counters["stranger"] += 1
            return False
        self._note_pace(link)
        return True

    def _note_pace(self, link: KnownLink) -> None:
        awaited = expected_by(self._now, link.report_s, link.keepalive_s)
        self._sorter.work[link.tenant_id].heard[link.id] = awaited

    def _take_session(self, message: Decoded) -> None:
        match message:
            case HelloMessage(link_id, hello, came_s):
                link = self._links[link_id]
                # Its clocks are those of when it came: many come at once after an outage, and wait here.
                came_at = self._now - timedelta(seconds=max(0.0, self._now_s - came_s))
                answer = devices.apply_hello(self._session, link.tenant_id, link_id, hello, self._now, came_at)
                self._add(link, answer.applied)
                self._welcome[link_id] = (hello, answer.wants_capabilities)
                # What the hello said of its clocks and its pace holds for what comes behind it.
                self._directory.forget([link_id])
                self._links |= self._find([link_id])
                self._note_pace(self._links[link_id])
            case PresenceMessage(link_id, presence):
                link = self._links[link_id]
                applied = devices.apply_presence(self._session, link.tenant_id, link_id, presence, self._now)
                self._add(link, applied)
            case CapabilitiesMessage(link_id, declared):
                link = self._links[link_id]
                applied = devices.apply_capabilities(self._session, link.tenant_id, link_id, declared, self._now)
                self._add(link, applied)
            case DeadMessage(link_id):
                if link_id is not None:
                    self._sorter.bury(self._links[link_id], message)
            case BatchMessage():
                pass

    def _add(self, link: KnownLink, applied: devices.Applied) -> None:
        work = self._sorter.work[link.tenant_id]
        work.events += applied.events
        work.changed |= applied.changed

    def _lock(self, batches: Sequence[BatchMessage]) -> dict[StreamKey, StreamState]:
        """All streams that this flush may move: of batches, of what their records name, of hellos."""
        wanted: dict[StreamKey, tuple[str, str]] = {}
        for batch in batches:
            tenant_id = self._links[batch.link].tenant_id
            for entry in batch.entries:
                for stream, kind in _named_by(entry, batch.kind):
                    wanted.setdefault((batch.link, stream), (tenant_id, str(kind)))
        for link_id, (hello, _) in self._welcome.items():
            tenant_id = self._links[link_id].tenant_id
            wanted |= {(link_id, one.stream): (tenant_id, str(one.kind)) for one in hello.streams}
        for batch in batches:
            wanted[batch.link, batch.stream] = (self._links[batch.link].tenant_id, str(batch.kind))
        return watermarks.lock(self._session, wanted)

    def _set_clocks_right(self, batches: Sequence[BatchMessage]) -> None:
        """Where a batch of the boot that said hello tells that this hello was long on its way, or that what an
        answer told was: a link knows its clock the better the more answers it had, so the highest that it tells holds.
        """
        told_ms: dict[str, int] = {}
        for batch in batches:
            link = self._links[batch.link]
            if batch.mono_offset_ms is not None and _is_of_boot(batch, link.boot):
                told_ms[link.id] = max(batch.mono_offset_ms, told_ms.get(link.id, batch.mono_offset_ms))
        right = {
            id_: offset_ms
            for id_, offset_ms in told_ms.items()
            if (known_ms := self._links[id_].mono_offset_ms) is not None and abs(known_ms - offset_ms) > _BESIDE_FROM_MS
        }
        if right:
            self._links |= {id_: self._links[id_].set_right(offset_ms) for id_, offset_ms in right.items()}
            self._sorter.counters["clocks_set_right"] += len(right)
            devices.set_clocks_right(self._session, {id_: (self._links[id_].boot, ms) for id_, ms in right.items()})
            self._directory.forget(right)

    def _take_batches(self, batches: Sequence[BatchMessage], states: dict[StreamKey, StreamState]) -> None:
        moved: Counter[tuple[str, str, StreamKind]] = Counter()
        for batch in batches:
            state = states.get((batch.link, batch.stream))
            first, last = batch.entries[0].seq, batch.entries[-1].seq
            if state is None or not state.has_room_for(first, last):
                # Not acknowledged: the agent sends it again once the gaps before it are filled.
                self._sorter.counters["not_taken"] += 1
                continue
            for entry in batch.entries:
                if state.received.holds(entry.seq) or self._was_taken(batch, entry, states):
                    self._sorter.counters["repeated"] += 1
                else:
                    self._sorter.take(self._links[batch.link], batch.stream, entry)
            state.received.add(first, last)
            moved[batch.link, batch.stream, batch.kind] += 1
        declared = self._bridge(states)
        of_batches = {(link_id, stream) for link_id, stream, _ in moved}
        for key in of_batches | declared:
            state = states[key]
            event = gaps.settle(state, self._now, declared=key in declared)
            if event is not None:
                self._sorter.work[state.tenant_id].events.append(event)
        self.flushed.acks = [
            BatchAck(link_id, kind, states[link_id, stream].ack(), count)
            for (link_id, stream, kind), count in moved.items()
        ]

    def _bridge(self, states: dict[StreamKey, StreamState]) -> set[StreamKey]:
        """What tombstones gave up need not be waited for."""
        declared = set()
        for work in self._sorter.work.values():
            for link_id, body, at in work.tombstones:
                state = states.get((link_id, body.stream))
                if state is None:
                    continue
                event = gaps.declare(state, body.first_seq, body.last_seq, body.reason, at)
                if event is not None:
                    work.events.append(event)
                    declared.add((link_id, str(body.stream)))
            for link_id, lost, at in work.losses:
                work.events.append(gaps.lose(states.get((link_id, lost.old_stream)), link_id, lost, at))
        return declared

    def _was_taken(self, batch: BatchMessage, entry: Entry, states: dict[StreamKey, StreamState]) -> bool:
        """Whether a record that was saved from a damaged spool came before under its first number, which it now takes:
        it may be saved again, and what was sent under the old number may come late.
        """
        was = entry.record.was if isinstance(entry.record, Record) else None
        first = states.get((batch.link, was.stream)) if was is not None and was.stream != batch.stream else None
        if was is None or first is None:
            return False
        if first.received.holds(was.seq):
            return True
        if first.has_room_for(was.seq, was.seq):
            first.received.add(was.seq, was.seq)
        return False

    def _take_positions(self, states: dict[StreamKey, StreamState]) -> None:
        for link_id, (hello, wants_capabilities) in self._welcome.items():
            for one in hello.streams:
                state = states.get((link_id, one.stream))
                if state is not None:
                    self._sorter.work[state.tenant_id].events += gaps.take_position(state, one, self._now)
            acks = [states[link_id, one.stream].ack() for one in hello.streams if (link_id, one.stream) in states]
            self.flushed.greetings.append(Greeting(self._links[link_id], hello, wants_capabilities, acks))

    def _write(self, tenant_id: str, work: TenantWork) -> None:
        session, now = self._session, self._now
        if work.dead:
            work.dead = self._room.admit(session, tenant_id, work.dead, self._now_s, self._sorter.counters)
        write_work(session, tenant_id, work, now)
        self._note_heard(tenant_id, work)
        for link_id in self._welcome:
            if self._links[link_id].tenant_id == tenant_id:
                outgoing = self._dispatch.take_for_link(session, tenant_id, link_id, now)
                self.flushed.outgoing += outgoing
                work.events += [one.event for one in outgoing if one.event is not None]
        condition.recompute(session, tenant_id, work.changed, now)

    def _note_heard(self, tenant_id: str, work: TenantWork) -> None:
        due = {id_: work.heard[id_] for id_ in self._heard.due(work.heard, self._now_s)}
        _merge(work, devices.touch(self._session, tenant_id, due, self._now))
        hour = hour_of(self._now)
        devices.note_hour(self._session, tenant_id, self._heard.new_in_hour(due, hour), hour)
        self.flushed.heard |= due.keys()


def _is_of_boot(batch: BatchMessage, boot: str) -> bool:
    """What was sent before a restart may come after its hello, with a clock that began elsewhere."""
    return any(isinstance(entry.record, Record) and entry.record.boot == boot for entry in batch.entries)


def _named_by(entry: Entry, kind: StreamKind) -> Iterator[tuple[str, StreamKind]]:
    """Other streams that a record tells of: what it gives up, what is lost, where it was before."""
    if not isinstance(entry.record, Record):
        return
    body = entry.record.body
    if isinstance(body, Tombstone):
        yield body.stream, StreamKind.BULK
    if isinstance(body, SpoolLost):
        yield body.old_stream, StreamKind.URGENT
    if entry.record.was is not None:
        yield entry.record.was.stream, kind


def write_work(session: Session, tenant_id: str, work: TenantWork, now: datetime) -> None:
    """Records and what they change, but for the events that they make and the condition of ``work.changed``."""
    bulk.write(session, _RECORD, work.records)
    bulk.write(session, _DEAD, work.dead)
    faults = apply_faults(session, tenant_id, work.faults, now)
    work.events += faults.events
    work.changed |= faults.changed
    silent = {device: not is_open for (device, code), is_open in faults.is_open.items() if code == devices.LINE_SILENT}
    _merge(work, devices.set_line(session, tenant_id, silent, now))
    work.events += apply_health(session, tenant_id, work.health, now)
    work.events += apply_reports(session, tenant_id, work.reports, now) if work.reports else []


def _merge(work: TenantWork, applied: devices.Applied) -> None:
    work.events += applied.events
    work.changed |= applied.changed
