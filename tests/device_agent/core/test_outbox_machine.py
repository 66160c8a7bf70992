"""Nothing is lost and nothing is made up, whatever the network, the broker and the server's database do."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from device_agent.core.outbox import Outbox
from device_agent.core.records import RANK_HEALTH, RANK_RESULT, Changes, NewRecord
from protocol import codec
from protocol.streams import WINDOW_BATCHES, Ack, Batch, Received, StreamKind
from tests.device_agent.core.rig import Clock, MemoryStore, dice, raw

KINDS = st.sampled_from(list(StreamKind))


class OutboxMachine(RuleBasedStateMachine):
    """Truth is kept by what a record says, not by its number: a number given twice would hide itself."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(1000.0)
        self.store = MemoryStore()
        self.outbox = Outbox(self.store, dice(seed=3))
        self.epoch = 1
        self.made: set[bytes] = set()
        self.received: dict[str, Received] = {}
        self.database: dict[tuple[str, int], bytes] = {}
        self.backup: tuple[dict[str, Received], dict[tuple[str, int], bytes]] = ({}, {})
        self.on_the_way: list[Batch] = []
        self.acks: list[Ack] = []

    @rule(kind=KINDS, count=st.integers(1, 130))
    def happens(self, kind: StreamKind, count: int) -> None:
        rank = RANK_RESULT if kind is StreamKind.URGENT else RANK_HEALTH
        texts = [raw(f"{kind.value} {len(self.made) + number}") for number in range(count)]
        self.made.update(texts)
        self.store.commit(Changes(records=[NewRecord(kind, rank, text) for text in texts]), 0)

    @rule(seconds=st.sampled_from([0.01, 1.0, 16.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_s(seconds)
        for sent in self.outbox.pump(self.clock.now):
            batch = codec.decode(sent.encoded.payload, sent.encoded.content_type, Batch)
            assert isinstance(batch, Batch)
            self.on_the_way.append(batch)

    @rule()
    def session_begins(self) -> None:
        self.outbox.on_established()
        self._hear(self._ack())

    @rule()
    def session_is_lost(self) -> None:
        self.outbox.on_lost()

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data())
    def batch_arrives(self, data: st.DataObject) -> None:
        batch = self.on_the_way[data.draw(st.integers(0, len(self.on_the_way) - 1))]
        received = self.received.setdefault(batch.stream, Received.empty())
        for seq, record in enumerate(batch.records, batch.first_seq):
            known = self.database.setdefault((batch.stream, seq), bytes(record))
            assert known == bytes(record), "one number names two records"
            received.add(seq, seq)
        self.acks.append(self._ack())

    @precondition(lambda self: self.on_the_way)
    @rule()
    def broker_forgets(self) -> None:
        self.on_the_way.clear()

    @precondition(lambda self: self.acks)
    @rule(data=st.data())
    def ack_arrives(self, data: st.DataObject) -> None:
        self._hear(self.acks.pop(data.draw(st.integers(0, len(self.acks) - 1))))

    @rule()
    def server_backs_up(self) -> None:
        copies = {stream: Received(one.upto, list(one.beyond)) for stream, one in self.received.items()}
        self.backup = (copies, dict(self.database))

    @rule()
    def server_is_restored(self) -> None:
        copies, rows = self.backup
        self.received = {stream: Received(one.upto, list(one.beyond)) for stream, one in copies.items()}
        self.database = dict(rows)
        self.epoch += 1
        self.acks.clear()

    def _ack(self) -> Ack:
        streams = [one.ack(stream) for stream, one in self.received.items()]
        return Ack(streams, f"{self.epoch:032x}", int(self.clock.seconds * 1000))

    def _hear(self, ack: Ack) -> None:
        for kind, upto in self.outbox.on_ack(ack, self.clock.now).moved.items():
            self.store.acknowledge(kind, upto)

    @invariant()
    def window_is_bounded(self) -> None:
        for kind in StreamKind:
            assert len(self.outbox.in_flight(kind)) <= WINDOW_BATCHES

    @invariant()
    def server_has_only_what_was_made(self) -> None:
        assert set(self.database.values()) <= self.made

    def teardown(self) -> None:
        """Once the faults stop, everything arrives."""
        self.outbox.on_lost()
        self.on_the_way.clear()
        self.session_begins()
        for _ in range(60):
            self.time_passes(400.0)
            while self.on_the_way:
                batch = self.on_the_way.pop(0)
                received = self.received.setdefault(batch.stream, Received.empty())
                for seq, record in enumerate(batch.records, batch.first_seq):
                    self.database[batch.stream, seq] = bytes(record)
                    received.add(seq, seq)
                self._hear(self._ack())
        assert set(self.database.values()) == self.made


OutboxMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestOutbox = OutboxMachine.TestCase
