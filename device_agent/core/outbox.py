"""Which records are on their way to the server, and when to send them again.

Layout: for each stream ``acked`` < in flight < ``cursor`` <= ``last + 1``. At most `WINDOW_BATCHES` batches of a
stream are in flight; a batch without the server's ack after 15 s (doubling to 300 s, within 25 % of jitter) is sent
again, oldest first, and counts once. The doubling spares a server that does not answer: when it says anything at all,
what waits longer than after a first try is sent again. Urgent goes before bulk, and the server's drain rate holds both,
what goes again included.

Invariants: a record is forgotten only by the server's ack; what lies between ``acked`` and ``cursor`` is in a batch in
flight, or the server has said that it has it, or it is a hole that a tombstone declares. Reading records is the store's
part, publishing the runner's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from device_agent.core.instant import NS_PER_S, Instant, earliest
from device_agent.core.ports import Dice, Store
from protocol import codec
from protocol.session import StreamPosition
from protocol.streams import (
    MAX_BATCH_RECORDS,
    RESEND_CAP_S,
    RESEND_FIRST_S,
    RESEND_JITTER,
    WINDOW_BATCHES,
    Ack,
    Batch,
    SeqRange,
    StreamAck,
    StreamKind,
)

# Room for the batch's own fields and the commas between the records, below the limit of a payload.
_MAX_RECORDS_BYTES = 60 * 1024
# Workers answer up to so much later than they have looked: an ack that says less than one before it is believed only
# when it is younger by this.
OVERTAKEN_MS = 5000
_ORDER = (StreamKind.URGENT, StreamKind.BULK)


@dataclass(frozen=True, slots=True)
class Outgoing:
    kind: StreamKind
    encoded: codec.Encoded


@dataclass(slots=True)
class InFlight:
    first: int
    last: int
    sent_at_ns: int
    due_ns: int
    interval_s: float = RESEND_FIRST_S


@dataclass(slots=True)
class _Stream:
    id: str
    acked: int
    cursor: int
    in_flight: list[InFlight] = field(default_factory=list)
    told_ms: int = 0  # server's time of the last word on this stream

    @classmethod
    def at(cls, position: StreamPosition) -> _Stream:
        return cls(position.stream, position.acked, position.acked + 1)

    def rewind(self, acked: int) -> None:
        self.acked, self.cursor = acked, acked + 1
        self.in_flight.clear()


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What an ack changed. ``conflicts``: streams of which the server has records that this spool never numbered.
    ``went_back``: the server has no longer what it had, of another database or of an older state of the same.
    """

    is_stale: bool = False
    went_back: bool = False
    moved: dict[StreamKind, int] = field(default_factory=dict)
    conflicts: tuple[StreamKind, ...] = ()


class Outbox:
    def __init__(self, store: Store, dice: Dice, *, db_epoch: str | None = None) -> None:
        self._store = store
        self._dice = dice
        self._streams = {kind: _Stream.at(position) for kind, position in store.positions().items()}
        self.db_epoch = db_epoch
        self._newest_ack_ms = 0
        self.rate_per_s = 1000
        self._credit = float(MAX_BATCH_RECORDS)
        self._credit_at_ns: int | None = None
        self.is_open = False
        self.resent = 0
        self.offset_ms: int | None = None  # what the next batches say of the clock, see `protocol.streams.Batch`

    def in_flight(self, kind: StreamKind) -> list[InFlight]:
        return list(self._streams[kind].in_flight)

    def set_rate(self, records_per_s: int) -> None:
        self.rate_per_s = max(records_per_s, 1)

    def on_established(self) -> None:
        """A new session: the broker may have forgotten what it was handed, so everything unacknowledged goes again."""
        self.is_open = True
        self.offset_ms = None
        self._newest_ack_ms = 0
        for stream in self._streams.values():
            stream.rewind(stream.acked)
            stream.told_ms = 0

    def on_lost(self) -> None:
        self.is_open = False

    def on_shed(self) -> None:
        """The store gave up records that were not acknowledged: batches are cut anew around the holes."""
        for stream in self._streams.values():
            stream.rewind(stream.acked)

    def on_renewed(self) -> None:
        """The store has given streams new ids."""
        self._streams = {kind: _Stream.at(position) for kind, position in self._store.positions().items()}

    def on_ack(self, ack: Ack, now: Instant) -> Acknowledged:
        """Several workers may publish acks in any order: one with an older server time says nothing new."""
        epoch_changed = self.db_epoch not in {None, ack.db_epoch}
        if ack.server_time_ms < self._newest_ack_ms and not epoch_changed:
            return Acknowledged(is_stale=True)
        self._newest_ack_ms = ack.server_time_ms
        self.db_epoch = ack.db_epoch
        went_back = epoch_changed
        moved: dict[StreamKind, int] = {}
        conflicts: list[StreamKind] = []
        positions = self._store.positions()
        answered = {one.stream: one for one in ack.streams}
        for kind, stream in self._streams.items():
            # A database that was set up anew does not know the stream at all.
            one = answered.get(stream.id, StreamAck(stream.id, 0) if epoch_changed else None)
            if one is None:
                continue
            if one.upto > positions[kind].last:
                conflicts.append(kind)
                continue
            before = stream.acked
            if epoch_changed or self._has_less(kind, stream, one):
                if not epoch_changed and ack.server_time_ms - stream.told_ms < OVERTAKEN_MS:
                    continue
                went_back = True
                stream.rewind(one.upto)
            stream.told_ms = ack.server_time_ms
            _advance(stream, one, now)
            if stream.acked != before:
                moved[kind] = stream.acked
        self.on_heard()
        return Acknowledged(went_back=went_back, moved=moved, conflicts=tuple(conflicts))

    def on_heard(self) -> None:
        """The server is there again, whatever it said: nothing waits longer than after a first try."""
        for stream in self._streams.values():
            for batch in stream.in_flight:
                if batch.interval_s > RESEND_FIRST_S:
                    batch.interval_s = RESEND_FIRST_S
                    again_ns = batch.sent_at_ns + int(self._spread(RESEND_FIRST_S) * NS_PER_S)
                    batch.due_ns = min(batch.due_ns, again_ns)

    def pump(self, now: Instant) -> list[Outgoing]:
        """What to publish now."""
        if not self.is_open:
            return []
        self._refill(now)
        out: list[Outgoing] = []
        for kind in _ORDER:
            stream = self._streams[kind]
            out.extend(
                self._again(kind, stream, batch, now)
                for batch in stream.in_flight
                if batch.due_ns <= now.monotonic_ns and self._credit > 0
            )
            while len(stream.in_flight) < WINDOW_BATCHES and self._credit > 0:
                fresh = self._next(kind, stream, now)
                if fresh is None:
                    break
                out.append(fresh)
        return out

    def next_due_ns(self) -> int | None:
        if not self.is_open:
            return None
        due = [batch.due_ns for stream in self._streams.values() for batch in stream.in_flight]
        if self._credit <= 0 and self._credit_at_ns is not None:
            credit_ns = self._credit_at_ns + int((1 - self._credit) / self.rate_per_s * NS_PER_S)
            due = [max(one, credit_ns) for one in due]
            if self._has_waiting():
                due.append(credit_ns)
        return earliest(*due)

    def _has_waiting(self) -> bool:
        positions = self._store.positions()
        return any(
            stream.cursor <= positions[kind].last and len(stream.in_flight) < WINDOW_BATCHES
            for kind, stream in self._streams.items()
        )

    def _has_less(self, kind: StreamKind, stream: _Stream, ack: StreamAck) -> bool:
        """Whether the server misses what it has said that it has: it was set back without anybody's saying so."""
        return ack.upto < stream.acked or any(
            gap.first < stream.cursor
            and not any(_overlap(batch, gap) for batch in stream.in_flight)
            # Of a hole nothing is held any more: its tombstone is still to come.
            and self._is_held(kind, gap)
            for gap in ack.missing
        )

    def _is_held(self, kind: StreamKind, gap: SeqRange) -> bool:
        rows = self._store.read(kind, gap.first, max_records=1, max_bytes=_MAX_RECORDS_BYTES)
        return bool(rows) and rows[0][0] <= gap.last

    def _next(self, kind: StreamKind, stream: _Stream, now: Instant) -> Outgoing | None:
        if stream.cursor > self._store.positions()[kind].last:
            return None
        rows = self._store.read(kind, stream.cursor, max_records=MAX_BATCH_RECORDS, max_bytes=_MAX_RECORDS_BYTES)
        if not rows:
            return None
        first, last = rows[0][0], rows[-1][0]
        stream.cursor = last + 1
        due_ns = now.in_s(self._spread(RESEND_FIRST_S))
        stream.in_flight.append(InFlight(first, last, now.monotonic_ns, due_ns))
        self._credit -= len(rows)
        return Outgoing(kind, self._encoded(stream.id, rows))

    def _again(self, kind: StreamKind, stream: _Stream, batch: InFlight, now: Instant) -> Outgoing:
        rows = self._store.read(
            kind, batch.first, max_records=batch.last - batch.first + 1, max_bytes=_MAX_RECORDS_BYTES
        )
        batch.interval_s = min(batch.interval_s * 2, RESEND_CAP_S)
        batch.sent_at_ns = now.monotonic_ns
        batch.due_ns = now.in_s(self._spread(batch.interval_s))
        self.resent += 1
        self._credit -= len(rows)
        return Outgoing(kind, self._encoded(stream.id, rows))

    def _encoded(self, stream_id: str, rows: Sequence[tuple[int, bytes]]) -> codec.Encoded:
        records = [msgspec.Raw(payload) for _, payload in rows]
        return codec.encode(Batch(stream_id, rows[0][0], records, self.offset_ms), deflate=True)

    def _spread(self, seconds: float) -> float:
        return seconds * (1 + RESEND_JITTER * (2 * self._dice.uniform() - 1))

    def _refill(self, now: Instant) -> None:
        most = float(max(self.rate_per_s, MAX_BATCH_RECORDS))
        if self._credit_at_ns is None:
            self._credit = most
        else:
            gained = (now.monotonic_ns - self._credit_at_ns) / NS_PER_S * self.rate_per_s
            self._credit = min(self._credit + gained, most)
        self._credit_at_ns = now.monotonic_ns


def _advance(stream: _Stream, ack: StreamAck, now: Instant) -> None:
    stream.acked = ack.upto
    stream.cursor = max(stream.cursor, ack.upto + 1)
    # A batch that waits behind a hole holds no place in the window: what closes the hole may come behind it.
    stream.in_flight = [batch for batch in stream.in_flight if batch.last > ack.upto and not _is_there(batch, ack)]
    for gap in ack.missing:
        _hasten(stream, gap, now)


def _is_there(batch: InFlight, ack: StreamAck) -> bool:
    """Whether ``missing`` tells that the server has all of it."""
    is_told = bool(ack.missing) and batch.last < ack.missing[-1].first
    return is_told and not any(_overlap(batch, gap) for gap in ack.missing)


def _overlap(batch: InFlight, gap: SeqRange) -> bool:
    return batch.first <= gap.last and gap.first <= batch.last


def _hasten(stream: _Stream, gap: SeqRange, now: Instant) -> None:
    """A range named missing goes again at once, unless it was sent just now: workers commit in any order."""
    for batch in stream.in_flight:
        if _overlap(batch, gap) and now.monotonic_ns - batch.sent_at_ns >= RESEND_FIRST_S * NS_PER_S:
            batch.due_ns = now.monotonic_ns
