"""A gap is open, filled or declared, and nobody waits for what will not come: on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, select

from fleet_server.db import reading, transaction
from fleet_server.health.models import HealthBlock
from fleet_server.ingest.gaps import SHOWN_AFTER, show_open
from fleet_server.ingest.models import LinkStream, StoredRecord
from fleet_server.timeline.writer import append_events
from protocol import codec
from protocol.records import FirstKey, HealthColumns, Outcome, Record, RecordBody, SpoolLost, Tombstone, Verdict
from protocol.session import StreamPosition
from protocol.streams import StreamKind
from tests.support.fleet_rows import TENANT, TERMINAL, make_fleet
from tests.support.flush_rig import BULK, URGENT, FlushRig

OLD = "c" * 32
THIRD = "d" * 32
VERDICT = Verdict("net.path", Outcome.PASS)


@pytest.fixture
def rig(engine: Engine) -> FlushRig:
    make_fleet(engine)
    return FlushRig(engine)


def _columns() -> HealthColumns:
    return HealthColumns(1, 60_000, 1, {"sys.cpu_pct": [1.0]})


def test_a_gap_that_lasts_is_shown_as_open_and_then_as_filled(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 4, Verdict("net.path", Outcome.PASS)))
    rig.pass_time(SHOWN_AFTER.total_seconds() - 1)
    _show(rig)
    assert rig.events(TERMINAL, "gap") == []
    rig.pass_time(2)
    _show(rig)
    _show(rig)
    rig.flush(rig.batch(TERMINAL, 1, *[Verdict("net.path", Outcome.PASS)] * 3))
    told = [(one.data["state"], one.data["first"], one.data["last"]) for one in rig.events(TERMINAL, "gap")]
    assert told == [("open", 1, 3), ("filled", 1, 3)]


def test_a_gap_that_fills_soon_is_not_shown(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 2, Verdict("net.path", Outcome.PASS)))
    rig.flush(rig.batch(TERMINAL, 1, Verdict("net.path", Outcome.PASS)))
    rig.pass_time(60)
    _show(rig)
    assert rig.events(TERMINAL, "gap") == []


def test_a_tombstone_fills_its_range_and_is_shown_as_declared(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 1, VERDICT))
    rig.flush(rig.batch(TERMINAL, 10, _columns(), kind=StreamKind.BULK))
    tomb = Tombstone(BULK, 1, 9, 0, 9, "spool full")
    rig.flush(rig.batch(TERMINAL, 2, tomb))
    (event,) = rig.events(TERMINAL, "gap")
    assert event.data == {
        "stream": BULK,
        "first": 1,
        "last": 9,
        "state": "declared",
        "reason": "spool full",
        "count": 9,
    }
    with reading(rig.engine) as session:
        row = session.get(LinkStream, (TERMINAL, BULK))
    assert row is not None
    assert (row.upto, row.beyond, row.gap_since) == (10, [], None)


def test_a_lost_spool_is_shown_as_declared(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 1, SpoolLost("c" * 32, 40, 30)))
    (event,) = rig.events(TERMINAL, "gap")
    assert (event.data["state"], event.data["last"], event.data["reason"]) == ("declared", 40, "spool_lost")


def hello_of(rig: FlushRig, *, last: int, oldest: int, acked: int, shed: int = 0) -> None:
    rig.flush(rig.hello(TERMINAL, positions=[StreamPosition(URGENT, StreamKind.URGENT, last, oldest, acked, shed)]))


def told(rig: FlushRig) -> list[tuple[str, int, int, int, str]]:
    data = [one.data for one in rig.events(TERMINAL, "gap")]
    return [(one["state"], one["first"], one["last"], one.get("count", 0), one["reason"]) for one in data]


def stream(rig: FlushRig, id_: str = URGENT) -> LinkStream:
    with reading(rig.engine) as session:
        row = session.get(LinkStream, (TERMINAL, id_))
    assert row is not None
    return row


def test_a_restore_older_than_what_the_agent_holds_declares_what_is_gone_and_goes_on(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 1, *[VERDICT] * 3))
    hello_of(rig, last=20, oldest=11, acked=20)
    assert told(rig) == [("declared", 4, 10, 7, "set_back")]
    flushed = rig.flush(rig.batch(TERMINAL, 11, *[VERDICT] * 10))
    assert flushed.acks[0].ack.upto == 20
    assert stream(rig).gap_since is None


def test_a_restore_behind_a_spool_that_holds_nothing_declares_all_of_it(rig: FlushRig) -> None:
    hello_of(rig, last=20, oldest=0, acked=20)
    assert told(rig) == [("declared", 1, 20, 20, "set_back")]
    assert stream(rig).upto == 20


def test_what_was_given_up_is_declared_by_the_hello_and_its_tombstone_says_it_no_second_time(rig: FlushRig) -> None:
    hello_of(rig, last=20, oldest=11, acked=4)
    rig.flush(rig.batch(TERMINAL, 20, Tombstone(URGENT, 5, 10, 2, 6, "no room in the spool")))
    assert told(rig) == [("declared", 1, 4, 4, "set_back"), ("declared", 5, 10, 6, "no_room")]


def test_a_hello_that_comes_twice_or_late_declares_nothing_new(rig: FlushRig) -> None:
    for oldest in (11, 11, 3, 0):
        hello_of(rig, last=10 if oldest == 0 else 20, oldest=oldest, acked=20)
    assert told(rig) == [("declared", 1, 10, 10, "set_back")]
    assert stream(rig).upto == 10


def test_what_came_out_of_order_is_not_declared(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 4, VERDICT, VERDICT))
    hello_of(rig, last=20, oldest=8, acked=20)
    assert told(rig) == [("declared", 1, 7, 5, "set_back")]


def test_a_gap_that_was_shown_as_open_ends_as_declared(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 11, VERDICT))
    rig.pass_time(SHOWN_AFTER.total_seconds() + 1)
    _show(rig)
    hello_of(rig, last=11, oldest=11, acked=11)
    assert [one[0] for one in told(rig)] == ["open", "declared"]
    assert stream(rig).gap_since is None


def test_a_tombstone_tells_only_of_what_had_not_come(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 1, VERDICT, VERDICT))
    rig.flush(rig.batch(TERMINAL, 9, Tombstone(URGENT, 1, 8, 2, 8, "full")))
    rig.flush(rig.batch(TERMINAL, 10, Tombstone(URGENT, 1, 8, 2, 8, "full")))
    assert told(rig) == [("declared", 3, 8, 6, "full")]


def test_a_lost_spool_ends_the_gap_of_its_stream(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 5, VERDICT, stream=OLD))
    rig.pass_time(SHOWN_AFTER.total_seconds() + 1)
    rig.flush(rig.batch(TERMINAL, 1, SpoolLost(OLD, 9, 3)))
    _show(rig)
    assert told(rig) == [("declared", 1, 9, 5, "spool_lost")]


def saved(rig: FlushRig, was: FirstKey, body: RecordBody = VERDICT) -> bytes:
    """A record that was saved from a damaged spool."""
    record = codec.from_json(rig.record(TERMINAL, body), Record)
    assert isinstance(record, Record)
    return codec.to_json(Record(record.device, record.boot, record.mono_ms, record.wall_ms, body, was))


def count(rig: FlushRig, kind: StreamKind) -> int:
    table = StoredRecord if kind is StreamKind.URGENT else HealthBlock
    with reading(rig.engine) as session:
        return len(session.execute(select(table)).all())


@pytest.mark.parametrize(("kind", "body"), [(StreamKind.URGENT, VERDICT), (StreamKind.BULK, _columns())])
def test_a_saved_record_is_taken_only_if_it_never_came_under_its_first_number(
    rig: FlushRig, kind: StreamKind, body: RecordBody
) -> None:
    rig.flush(rig.batch(TERMINAL, 1, body, body, kind=kind, stream=OLD))
    again = [saved(rig, FirstKey(OLD, seq), body) for seq in (2, 3)]
    flushed = rig.flush(rig.batch(TERMINAL, 1, *again, kind=kind, stream=THIRD))
    assert (flushed.counters["records"], flushed.counters["repeated"], flushed.acks[0].ack.upto) == (1, 1, 2)
    assert count(rig, kind) == 3


def test_a_saved_record_that_is_saved_again_or_comes_late_under_its_first_number_is_no_second_one(
    rig: FlushRig,
) -> None:
    rig.flush(rig.batch(TERMINAL, 1, saved(rig, FirstKey(OLD, 7))))
    rig.flush(rig.batch(TERMINAL, 1, saved(rig, FirstKey(OLD, 7)), stream=THIRD))
    rig.flush(rig.batch(TERMINAL, 7, VERDICT, stream=OLD))
    assert count(rig, StreamKind.URGENT) == 1


def test_a_record_that_names_a_number_of_its_own_stream_as_its_first_is_taken(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 1, VERDICT, saved(rig, FirstKey(URGENT, 1)), saved(rig, FirstKey(URGENT, 9))))
    assert (count(rig, StreamKind.URGENT), stream(rig).upto) == (3, 3)


def _show(rig: FlushRig) -> None:
    with transaction(rig.engine) as session:
        append_events(session, TENANT, show_open(session, TENANT, rig.now), rig.now)
