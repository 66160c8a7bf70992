from __future__ import annotations

import zlib

import msgspec
import pytest

from device_agent.core.outbox import OVERTAKEN_MS, Outbox, Outgoing
from device_agent.core.records import RANK_HEALTH, RANK_RESULT, Changes, NewRecord
from protocol import codec
from protocol.streams import MAX_BATCH_RECORDS, WINDOW_BATCHES, Ack, Batch, Received, SeqRange, StreamAck, StreamKind
from tests.device_agent.core.rig import Clock, MemoryStore, dice, raw

EPOCH_1, EPOCH_2 = "1" * 32, "2" * 32
URGENT, BULK = StreamKind.URGENT, StreamKind.BULK


def opened(outgoing: Outgoing) -> Batch:
    batch = codec.decode(outgoing.encoded.payload, outgoing.encoded.content_type, Batch)
    assert isinstance(batch, Batch)
    return batch


def spans(sent: list[Outgoing]) -> list[tuple[StreamKind, int, int]]:
    batches = [(one.kind, opened(one)) for one in sent]
    return [(kind, batch.first_seq, batch.first_seq + len(batch.records) - 1) for kind, batch in batches]


class Wire:
    """An outbox over a store in memory, with a hand on clock and acks."""

    def __init__(self, urgent: int = 0, bulk: int = 0, *, uniform: float = 0.5) -> None:
        self.store = MemoryStore()
        self.clock = Clock(100.0)
        self.outbox = Outbox(self.store, dice(uniform=uniform), db_epoch=EPOCH_1)
        self.spool(URGENT, urgent)
        self.spool(BULK, bulk)
        self.outbox.on_established()

    def spool(self, kind: StreamKind, count: int) -> None:
        rank = RANK_RESULT if kind is URGENT else RANK_HEALTH
        self.store.commit(Changes(records=[NewRecord(kind, rank, raw(f"{kind}")) for _ in range(count)]), 0)

    def pump(self) -> list[tuple[StreamKind, int, int]]:
        return spans(self.outbox.pump(self.clock.now))

    def ack(
        self, kind: StreamKind, upto: int, *missing: SeqRange, epoch: str = EPOCH_1, at_ms: int | None = None
    ) -> bool:
        server_ms = int(self.clock.seconds * 1000) if at_ms is None else at_ms
        ack = Ack([StreamAck(self.store.ids[kind], upto, list(missing))], epoch, server_ms)
        result = self.outbox.on_ack(ack, self.clock.now)
        for moved, to in result.moved.items():
            self.store.acknowledge(moved, to)
        return result.is_stale


def test_nothing_is_sent_before_the_session_is_established() -> None:
    wire = Wire(urgent=1)
    wire.outbox.on_lost()
    assert wire.pump() == []


def test_urgent_goes_before_bulk_and_at_most_four_batches_a_stream() -> None:
    wire = Wire(urgent=MAX_BATCH_RECORDS * 6, bulk=3)
    wire.outbox.set_rate(100_000)
    wire.clock.pass_s(1)
    assert wire.pump() == [(URGENT, 1 + 100 * n, 100 + 100 * n) for n in range(WINDOW_BATCHES)] + [(BULK, 1, 3)]


def test_batches_say_what_is_known_of_the_clock_when_they_go_and_when_they_go_again_and_a_session_begins_anew() -> None:
    wire = Wire(urgent=1)
    wire.outbox.offset_ms = 1_700_000_000_000
    sent = wire.outbox.pump(wire.clock.now)
    wire.outbox.offset_ms = 1_700_000_009_000
    sent += wire.outbox.pump(wire.clock.pass_s(20))
    assert [opened(one).mono_offset_ms for one in sent] == [1_700_000_000_000, 1_700_000_009_000]
    wire.outbox.on_established()
    assert [opened(one).mono_offset_ms for one in wire.outbox.pump(wire.clock.pass_s(1))] == [None]


def test_ack_moves_the_window_on() -> None:
    wire = Wire(urgent=3)
    assert wire.pump() == [(URGENT, 1, 3)]
    wire.ack(URGENT, 3)
    assert wire.outbox.in_flight(URGENT) == []
    wire.spool(URGENT, 1)
    assert wire.pump() == [(URGENT, 4, 4)]


def test_batch_without_ack_is_sent_again_after_15_s_then_30_s_and_counts_once() -> None:
    wire = Wire(urgent=2)
    assert wire.pump() == [(URGENT, 1, 2)]
    wire.clock.pass_s(14.9)
    assert wire.pump() == []
    wire.clock.pass_s(0.2)
    assert wire.pump() == [(URGENT, 1, 2)]
    wire.clock.pass_s(29)
    assert wire.pump() == []
    wire.clock.pass_s(2)
    assert wire.pump() == [(URGENT, 1, 2)]
    assert len(wire.outbox.in_flight(URGENT)) == 1


@pytest.mark.parametrize(("uniform", "after_s"), [(0.0, 11.25), (1.0, 18.75)])
def test_agents_that_lost_a_message_together_do_not_send_it_again_together(uniform: float, after_s: float) -> None:
    wire = Wire(urgent=1, uniform=uniform)
    wire.pump()
    wire.clock.pass_s(after_s - 0.1)
    assert wire.pump() == []
    wire.clock.pass_s(0.2)
    assert wire.pump() == [(URGENT, 1, 1)]


def test_however_long_nobody_answers_it_is_tried_each_five_minutes() -> None:
    wire = Wire(urgent=1)
    wire.pump()
    for waited_s in (15, 30, 60, 120, 240, 300, 300, 300):
        wire.clock.pass_s(waited_s - 0.1)
        assert wire.pump() == []
        wire.clock.pass_s(0.2)
        assert wire.pump() == [(URGENT, 1, 1)]


def unanswered_for_an_hour(wire: Wire) -> None:
    give_up_s = wire.clock.seconds + 3600
    while wire.clock.seconds < give_up_s:
        wire.pump()
        wire.clock.pass_s(5)


@pytest.mark.parametrize("is_flow", [True, False])
def test_first_word_of_a_server_that_was_away_sends_again_what_waits(is_flow: bool) -> None:
    wire = Wire(urgent=1, bulk=1)
    unanswered_for_an_hour(wire)
    while wire.pump():
        wire.clock.pass_s(5)
    wire.clock.pass_s(20)
    assert wire.pump() == []
    if is_flow:
        wire.outbox.on_heard()
    else:
        wire.ack(BULK, 0)
    assert wire.pump() == [(URGENT, 1, 1), (BULK, 1, 1)]
    # And from then on as after a first try.
    wire.clock.pass_s(29)
    assert wire.pump() == []
    wire.clock.pass_s(2)
    assert wire.pump() == [(URGENT, 1, 1), (BULK, 1, 1)]


def test_word_of_the_server_sends_nothing_again_that_was_sent_less_than_15_s_ago() -> None:
    wire = Wire(urgent=1, bulk=1)
    unanswered_for_an_hour(wire)
    while not wire.pump():
        wire.clock.pass_s(1)
    wire.clock.pass_s(10)
    wire.ack(BULK, 1)
    assert wire.pump() == []
    wire.clock.pass_s(6)
    assert wire.pump() == [(URGENT, 1, 1)]


def test_drain_rate_holds_what_goes_again_and_nobody_waits_in_vain_meanwhile() -> None:
    wire = Wire(urgent=MAX_BATCH_RECORDS * 4)
    wire.outbox.set_rate(50)
    sent = wire.pump()
    while len(wire.outbox.in_flight(URGENT)) < 4:
        wire.clock.pass_s(1)
        sent += wire.pump()
    unanswered_for_an_hour(wire)
    wire.clock.pass_s(400)
    due_ns = wire.outbox.next_due_ns()
    assert due_ns is not None
    assert due_ns <= wire.clock.now.monotonic_ns
    first = wire.pump()
    assert 0 < len(first) < 4
    due_ns = wire.outbox.next_due_ns()
    assert due_ns is not None
    assert due_ns > wire.clock.now.monotonic_ns
    again = list(first)
    for _ in range(8):
        wire.clock.pass_s(1)
        again += wire.pump()
    assert sorted(again) == sorted(sent)


def test_missing_range_is_sent_again_only_when_it_was_sent_15_s_ago() -> None:
    wire = Wire(urgent=1)
    wire.pump()
    wire.spool(URGENT, 1)
    wire.pump()
    wire.ack(URGENT, 0, SeqRange(1, 1))
    assert wire.pump() == []
    wire.clock.pass_s(15)
    wire.outbox.in_flight(URGENT)[0].due_ns += 10**10  # its own timer is later than the server's word
    wire.ack(URGENT, 0, SeqRange(1, 1))
    assert (URGENT, 1, 1) in wire.pump()


def test_older_ack_that_arrives_late_says_nothing() -> None:
    wire = Wire(urgent=5)
    wire.pump()
    wire.ack(URGENT, 5, at_ms=2000)
    assert wire.ack(URGENT, 2, at_ms=1000)
    assert wire.pump() == []


def test_server_that_was_set_back_gets_everything_again() -> None:
    wire = Wire(urgent=5)
    wire.pump()
    wire.ack(URGENT, 5)
    wire.clock.pass_s(OVERTAKEN_MS / 1000)
    wire.ack(URGENT, 2)
    assert wire.pump() == [(URGENT, 3, 5)]


def test_ack_that_looked_before_another_and_speaks_after_it_sends_nothing_again() -> None:
    wire = Wire(urgent=5)
    wire.pump()
    wire.ack(URGENT, 5)
    wire.clock.pass_s(1)
    wire.ack(URGENT, 2)
    assert wire.pump() == []
    assert wire.store.acked[URGENT] == 5


def shed(wire: Wire, upto: int) -> None:
    """The oldest urgent records are given up; what declares them comes last."""
    for seq in range(1, upto + 1):
        wire.store.records[URGENT].pop(seq, None)
    wire.spool(URGENT, 1)
    wire.outbox.on_shed()


def test_batches_that_wait_behind_a_hole_leave_the_window_to_what_declares_it() -> None:
    wire = Wire(urgent=900)
    wire.outbox.set_rate(100_000)
    wire.clock.pass_s(1)
    wire.pump()
    shed(wire, 150)
    server = Received.empty()
    for _ in range(4):
        for _, first, last in wire.pump():
            server.add(first, last)
            if last == 901:
                server.add(1, 150)
        wire.clock.pass_s(1)
        ack = server.ack(wire.store.ids[URGENT])
        wire.ack(URGENT, ack.upto, *ack.missing)
    assert server.upto == 901
    assert wire.store.acked[URGENT] == 901


def test_batch_that_the_list_of_gaps_does_not_reach_stays_in_flight() -> None:
    wire = Wire(urgent=300)
    wire.pump()
    wire.ack(URGENT, 0, SeqRange(1, 100), SeqRange(201, 201))
    assert [(one.first, one.last) for one in wire.outbox.in_flight(URGENT)] == [(1, 100), (201, 300)]


def test_server_that_misses_what_it_had_behind_a_hole_gets_it_again() -> None:
    wire = Wire(urgent=300)
    wire.pump()
    wire.ack(URGENT, 0, SeqRange(1, 100), SeqRange(301, 301))
    wire.clock.pass_s(6)
    assert wire.pump() == []
    wire.ack(URGENT, 100, SeqRange(101, 200), SeqRange(301, 301))
    assert wire.pump() == [(URGENT, 101, 200), (URGENT, 201, 300)]


def test_hole_in_the_spool_is_not_taken_for_a_server_that_was_set_back() -> None:
    wire = Wire(urgent=300)
    shed(wire, 150)
    wire.pump()
    wire.clock.pass_s(60)
    ack = Ack([StreamAck(wire.store.ids[URGENT], 0, [SeqRange(1, 150), SeqRange(302, 302)])], EPOCH_1, 200_000)
    assert not wire.outbox.on_ack(ack, wire.clock.now).went_back


def test_new_database_that_does_not_know_the_stream_gets_everything_again() -> None:
    wire = Wire(urgent=5)
    wire.pump()
    wire.ack(URGENT, 5)
    wire.outbox.on_ack(Ack([], EPOCH_2, 10**9), wire.clock.now)
    assert wire.pump() == [(URGENT, 1, 5)]


def test_server_that_knows_numbers_this_spool_never_gave_is_a_conflict() -> None:
    wire = Wire(urgent=2)
    wire.pump()
    ack = Ack([StreamAck(wire.store.ids[URGENT], 9)], EPOCH_1, 10**9)
    assert wire.outbox.on_ack(ack, wire.clock.now).conflicts == (URGENT,)


def test_reconnecting_sends_what_is_not_acknowledged_at_once() -> None:
    wire = Wire(urgent=4)
    wire.pump()
    wire.ack(URGENT, 1)
    wire.outbox.on_lost()
    wire.outbox.on_established()
    assert wire.pump() == [(URGENT, 2, 4)]


def test_drain_rate_holds_a_backlog_back() -> None:
    wire = Wire(bulk=1000)
    wire.outbox.set_rate(10)
    wire.pump()
    sent = sum(last - first + 1 for _, first, last in wire.pump())
    assert sent == 0
    due_ns = wire.outbox.next_due_ns()
    assert due_ns is not None
    assert due_ns > wire.clock.now.monotonic_ns


def test_hole_left_by_shedding_splits_a_batch() -> None:
    wire = Wire(urgent=5)
    del wire.store.records[URGENT][3]
    wire.outbox.on_shed()
    assert wire.pump() == [(URGENT, 1, 2), (URGENT, 4, 5)]


def test_long_batch_travels_deflated() -> None:
    wire = Wire(urgent=50)
    (sent,) = wire.outbox.pump(wire.clock.now)
    assert sent.encoded.content_type == codec.JSON_DEFLATE
    assert len(msgspec.json.decode(zlib.decompress(sent.encoded.payload))["records"]) == 50


def test_batch_of_which_the_server_has_only_a_part_stays_in_flight() -> None:
    wire = Wire(urgent=5)
    wire.pump()
    wire.ack(URGENT, 2)
    assert [(one.first, one.last) for one in wire.outbox.in_flight(URGENT)] == [(1, 5)]
    wire.clock.pass_s(16)
    assert wire.pump() == [(URGENT, 1, 5)]
