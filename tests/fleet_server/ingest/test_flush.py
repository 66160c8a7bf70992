"""One flush is one transaction: on both databases, in any order, however often."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from sqlalchemy import Engine, select

from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device
from fleet_server.executions.dispatch import Outgoing
from fleet_server.faults.models import Fault
from fleet_server.ingest import dead_room
from fleet_server.ingest.decode import DeadMessage, unprocessable
from fleet_server.ingest.letters import MAX_BYTES as MAX_DEAD_BYTES
from fleet_server.ingest.models import DeadLetter, LinkStream, StoredRecord
from fleet_server.ingest.sorting import MAX_DEAD_PER_LINK
from fleet_server.ingest.watermarks import MAX_BEYOND, MAX_STREAMS_PER_LINK
from fleet_server.kit.times import utc_now
from fleet_server.tenants.repository import ensure_tenant
from fleet_server.timeline.writer import NewEvent
from protocol.errors import Malformed
from protocol.identifiers import LinkId
from protocol.records import FaultCleared, FaultRaised, Outcome, SecurityEvent, Severity, Verdict
from protocol.session import StreamPosition
from protocol.streams import SeqRange, StreamKind
from tests.support.fleet_rows import GATEWAY, OTHER, PRINTER, STRANGER, TENANT, TERMINAL, make_fleet
from tests.support.flush_rig import BULK, URGENT, FlushRig


@pytest.fixture
def rig(engine: Engine) -> FlushRig:
    make_fleet(engine)
    return FlushRig(engine)


def verdict(evidence: str = "") -> Verdict:
    return Verdict("net.path", Outcome.PASS, evidence=evidence)


def stored(rig: FlushRig) -> list[int]:
    with reading(rig.engine) as session:
        return sorted(session.execute(select(StoredRecord.seq)).scalars())  # type: ignore[call-overload]  # SQLModel types columns as their values


def test_records_are_stored_once_and_acknowledged_up_to_the_contiguous_prefix(rig: FlushRig) -> None:
    flushed = rig.flush(rig.batch(TERMINAL, 1, verdict(), verdict()), rig.batch(TERMINAL, 5, verdict()))
    (ack,) = flushed.acks
    assert (ack.ack.upto, ack.ack.missing, ack.batches) == (2, [SeqRange(3, 4), SeqRange(6, 6)], 2)
    again = rig.flush(rig.batch(TERMINAL, 1, verdict(), verdict(), verdict(), verdict()))
    assert (again.acks[0].ack.upto, again.counters["repeated"], again.counters["records"]) == (5, 2, 2)
    assert stored(rig) == [1, 2, 3, 4, 5]
    assert len(rig.events(TERMINAL, "verdict")) == 5


def test_any_order_and_any_repetition_gives_the_same_rows_and_events(rig: FlushRig) -> None:
    dice = random.Random(11)
    whole = [
        rig.batch(TERMINAL, first, *[verdict(f"{first + n}") for n in range(size)], kind=StreamKind.URGENT)
        for first, size in [(1, 3), (4, 1), (5, 7), (12, 2), (14, 10)]
    ]
    while len(stored(rig)) < 23:
        rig.flush(*[dice.choice(whole) for _ in range(dice.randint(1, 4))])
    rig.flush(*whole)
    assert stored(rig) == list(range(1, 24))
    assert sorted(int(one.data["evidence"]) for one in rig.events(TERMINAL, "verdict")) == list(range(1, 24))


def test_events_carry_the_ids_that_are_hinted(rig: FlushRig) -> None:
    flushed = rig.flush(rig.hello(TERMINAL), rig.batch(TERMINAL, 1, verdict()))
    assert flushed.event_ids == [one.id for one in rig.events()]


def test_a_stranger_is_counted_and_leaves_nothing(rig: FlushRig) -> None:
    flushed = rig.flush(rig.batch(STRANGER, 1, verdict()), rig.hello(STRANGER))
    assert (flushed.counters["stranger"], flushed.acks, flushed.greetings) == (2, [], [])
    assert stored(rig) == []


def test_a_link_speaks_only_for_itself_and_what_is_attached_to_it(rig: FlushRig) -> None:
    foreign = rig.record(OTHER, verdict())
    flushed = rig.flush(rig.batch(GATEWAY, 1, rig.record(PRINTER, verdict()), foreign, rig.record(GATEWAY, verdict())))
    assert flushed.acks[0].ack.upto == 3
    assert flushed.counters["dead.foreign_device"] == 1
    assert stored(rig) == [1, 3]
    assert rig.events(OTHER) == []
    with reading(rig.engine) as session:
        letter = session.execute(select(DeadLetter)).scalar_one()
    assert (letter.link_id, letter.seq, letter.reason, letter.payload) == (GATEWAY, 2, "foreign_device", foreign)


def test_dead_letters_are_kept_without_card_data_and_within_bounds(rig: FlushRig) -> None:
    why = Malformed("not_decodable", "no\0good")
    letters = [
        DeadMessage(LinkId(TERMINAL), "urgent", why, b"pan 4111111111111111 " + b"x" * 20_000, "text/plain")
        for _ in range(MAX_DEAD_PER_LINK + 5)
    ]
    flushed = rig.flush(*letters, DeadMessage(LinkId(OTHER), "hello", why, b"\xff\xfe", ""))
    assert flushed.counters["dead"] == MAX_DEAD_PER_LINK + 6
    with reading(rig.engine) as session:
        rows = session.execute(select(DeadLetter)).scalars().all()
    assert len(rows) == MAX_DEAD_PER_LINK + 1
    assert flushed.counters["dead_not_kept"] == 5
    assert all(b"4111111111111111" not in row.payload and len(row.payload) <= 2**18 for row in rows)
    assert {row.payload for row in rows if row.link_id == OTHER} == {b"\xff\xfe"}


def test_of_one_link_and_flush_only_so_many_bytes_of_dead_letters_are_kept(rig: FlushRig) -> None:
    why = Malformed("not_decodable", "")
    flushed = rig.flush(*[DeadMessage(LinkId(TERMINAL), "urgent", why, b"x" * 200_000, "") for _ in range(4)])
    assert (flushed.counters["dead"], flushed.counters["dead_not_kept"]) == (4, 2)


def test_a_dead_letter_that_is_text_only_in_part_is_kept_without_card_data_too(rig: FlushRig) -> None:
    why = Malformed("not_decodable", "")
    # The last character is cut in two.
    payload = b"\xff pan 4111111111111111 " + b"x" * (MAX_DEAD_BYTES - 25) + "店".encode()
    rig.flush(DeadMessage(LinkId(TERMINAL), "urgent", why, payload, ""))
    with reading(rig.engine) as session:
        kept = session.execute(select(DeadLetter)).scalar_one().payload
    assert b"4111111111111111" not in kept
    assert kept.startswith(b"\xff pan ")


def test_letters_for_which_there_is_no_room_are_counted_and_others_still_kept(
    rig: FlushRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_room, "MAX_LINK_BYTES", 2500)
    why = Malformed("not_decodable", "")
    letters = [DeadMessage(LinkId(TERMINAL), "urgent", why, b"x" * 1000, "") for _ in range(4)]
    first = rig.flush(*letters, DeadMessage(LinkId(OTHER), "urgent", why, b"y" * 1000, ""))
    second = rig.flush(letters[0])
    assert (first.counters["dead"], first.counters["dead_not_kept"], second.counters["dead_not_kept"]) == (5, 2, 1)
    with reading(rig.engine) as session:
        links = [row.link_id for row in session.execute(select(DeadLetter)).scalars()]
    assert sorted(links) == sorted([TERMINAL, TERMINAL, OTHER])
    monkeypatch.setattr(dead_room, "MAX_BYTES", 3500)
    assert rig.flush(letters[0], DeadMessage(LinkId(OTHER), "hello", why, b"", "")).counters["dead_not_kept"] == 1


def test_a_tenant_that_fills_its_share_takes_no_room_of_another(rig: FlushRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tenants share 4,000 bytes: of the loud one 2,000 are kept, and all of the other."""
    with transaction(rig.engine) as session:
        for tenant in (TENANT, "other"):
            ensure_tenant(session, tenant, utc_now())
        session.get_one(Device, OTHER).tenant_id = "other"
    monkeypatch.setattr(dead_room, "MAX_BYTES", 4000)
    why = Malformed("not_decodable", "")
    loud = [DeadMessage(LinkId(TERMINAL), "urgent", why, b"x" * 1000, "") for _ in range(4)]
    assert rig.flush(*loud).counters["dead_not_kept"] == 2
    quiet = [DeadMessage(LinkId(OTHER), "urgent", why, b"y" * 1000, "") for _ in range(2)]
    assert rig.flush(*quiet).counters["dead_not_kept"] == 0
    with reading(rig.engine) as session:
        kept = Counter(row.tenant_id for row in session.execute(select(DeadLetter)).scalars())
    assert kept == {TENANT: 2, "other": 2}


@pytest.mark.parametrize("bound", ["MAX_LINK_LETTERS", "MAX_LETTERS"])
def test_letters_without_any_bytes_are_bounded_by_their_number(
    rig: FlushRig, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(dead_room, bound, 2)
    empty = DeadMessage(LinkId(TERMINAL), "urgent", Malformed("not_decodable", ""), b"", "")
    assert rig.flush(empty, empty, empty).counters["dead_not_kept"] == 1


def test_an_unprocessable_batch_is_passed_over(rig: FlushRig) -> None:
    flushed = rig.flush(unprocessable(rig.batch(TERMINAL, 1, verdict(), verdict())))
    assert (flushed.acks[0].ack.upto, flushed.counters["dead.unprocessable"], stored(rig)) == (2, 2, [])


def test_card_data_that_the_agent_left_in_raises_a_security_event(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 1, verdict("paid with 4111111111111111")))
    (event,) = rig.events(TERMINAL, "security")
    assert event.data["code"] == "agent.CARD_DATA_FOUND"
    with reading(rig.engine) as session:
        assert "4111111111111111" not in session.execute(select(StoredRecord)).scalar_one().body
    assert "4111111111111111" not in str([one.data for one in rig.events()])


def test_a_security_event_of_the_agent_is_shown(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 1, SecurityEvent("gate.signature", "refused", 3)))
    (event,) = rig.events(TERMINAL, "security")
    assert event.data == {"code": "gate.signature", "detail": "refused", "count": 3}


def test_scattered_numbers_cannot_grow_a_row_without_bound(rig: FlushRig) -> None:
    for first in range(2, 2 * MAX_BEYOND + 40, 2):
        rig.flush(rig.batch(TERMINAL, first, verdict()))
    with reading(rig.engine) as session:
        row = session.get(LinkStream, (TERMINAL, URGENT))
    assert row is not None
    assert len(row.beyond) == MAX_BEYOND
    assert rig.flush(rig.batch(TERMINAL, 1, verdict())).acks[0].ack.upto == 2


def test_a_link_cannot_make_streams_without_bound(rig: FlushRig) -> None:
    batches = [rig.batch(TERMINAL, 1, verdict(), stream=f"{n:032x}") for n in range(MAX_STREAMS_PER_LINK + 3)]
    flushed = rig.flush(*batches)
    assert flushed.counters["not_taken"] == 3
    assert len(flushed.acks) == MAX_STREAMS_PER_LINK
    assert rig.flush(rig.batch(OTHER, 1, verdict())).acks[0].ack.upto == 1


def test_hello_answers_where_each_stream_stands(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 1, verdict(), verdict()))
    positions = [
        StreamPosition(URGENT, StreamKind.URGENT, 2, 1, 0),
        StreamPosition(BULK, StreamKind.BULK, 0, 0, 0),
    ]
    (greeting,) = rig.flush(rig.hello(TERMINAL, positions=positions)).greetings
    assert [(one.stream, one.upto) for one in greeting.streams] == [(URGENT, 2), (BULK, 0)]
    assert greeting.wants_capabilities


def test_commands_that_wait_for_a_link_leave_with_its_hello(rig: FlushRig) -> None:
    rig.outgoing = [Outgoing("t", b"p", "c", NewEvent(TERMINAL, "execution", rig.now, {"state": "PUBLISHED"}))]
    flushed = rig.flush(rig.hello(TERMINAL))
    assert [one.topic for one in flushed.outgoing] == ["t"]
    assert [one.data["state"] for one in rig.events(TERMINAL, "execution")] == ["PUBLISHED"]


def test_a_fault_reaches_its_table_and_the_device_condition(rig: FlushRig) -> None:
    raised_ms = rig.wall_ms(30)
    rig.flush(rig.hello(TERMINAL))
    rig.flush(rig.batch(TERMINAL, 1, FaultRaised("escpos.PAPER_OUT", Severity.MAJOR, raised_ms, raised_ms)))
    assert (rig.device(TERMINAL).condition, rig.device(TERMINAL).worst_code) == ("faulty", "escpos.PAPER_OUT")
    rig.pass_time(5)
    rig.flush(rig.batch(TERMINAL, 2, FaultCleared("escpos.PAPER_OUT", raised_ms, rig.wall_ms())))
    assert (rig.device(TERMINAL).condition, rig.device(TERMINAL).worst_code) == ("well", "")
    with reading(rig.engine) as session:
        fault = session.execute(select(Fault)).scalar_one()
    assert (fault.is_open, fault.cleared_at) == (False, rig.now)
