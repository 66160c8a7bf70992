"""Dead letters played again: what is understood now arrives once, and nobody's watermark moves."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from fleet_server.audit.models import AuditEntry
from fleet_server.auth.roles import Role
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device
from fleet_server.health.models import HealthBlock
from fleet_server.ingest import replay as replay_module
from fleet_server.ingest.decode import decode
from fleet_server.ingest.models import DeadLetter, LinkStream, StoredRecord
from fleet_server.ingest.replay import Replayed, replay
from fleet_server.mqtt import Received
from protocol import codec
from protocol.records import FaultRaised, HealthColumns, Outcome, RecordBody, Severity, Verdict
from protocol.streams import Batch, StreamKind
from tests.fleet_server.factories import actor
from tests.support.fleet_rows import GATEWAY, OTHER, PRINTER, TERMINAL, make_fleet
from tests.support.flush_rig import BULK, FlushRig
from tests.support.health_rows import newest_of

PAPER_OUT = "escpos.PAPER_OUT"


@pytest.fixture
def rig(engine: Engine) -> FlushRig:
    make_fleet(engine)
    return FlushRig(engine)


def fault(rig: FlushRig) -> FaultRaised:
    return FaultRaised(PAPER_OUT, Severity.MAJOR, rig.wall_ms(), rig.wall_ms())


def bury(rig: FlushRig, *bodies: RecordBody, kind: StreamKind = StreamKind.URGENT, link: str = TERMINAL) -> None:
    """As an older version does with records it does not know."""
    rig.flush(rig.batch(link, 1, *[b'{"later":1}' for _ in bodies], kind=kind))
    with transaction(rig.engine) as session:
        letters = session.exec(select(DeadLetter).order_by(DeadLetter.id)).all()  # type: ignore[arg-type]  # SQLModel types columns as their values
        assert len(letters) == len(bodies)
        for letter, body in zip(letters, bodies, strict=True):
            # What the upgrade teaches: the same bytes are understood now.
            letter.payload = rig.record(link, body)
            session.add(letter)


def play(rig: FlushRig, **more: object) -> Replayed:
    with transaction(rig.engine) as session:
        return replay(session, actor(Role.OPERATOR), rig.now, **more)  # type: ignore[arg-type]  # the tests' own words


def left(session: Session) -> list[str]:
    return [letter.reason for letter in session.exec(select(DeadLetter)).all()]


def test_a_record_that_is_understood_now_has_all_its_effects_once(rig: FlushRig) -> None:
    bury(rig, fault(rig))
    with reading(rig.engine) as session:
        before = [row.model_dump() for row in session.exec(select(LinkStream)).all()]
    rig.pass_time(3600)
    first, second = play(rig), play(rig)
    assert (first.taken, second.taken, first.left.total()) == (1, 0, 0)
    with reading(rig.engine) as session:
        (stored,) = session.exec(select(StoredRecord)).all()
        assert (stored.link_id, stored.seq, stored.kind) == (TERMINAL, 1, "fault_raised")
        assert left(session) == []
        assert [row.model_dump() for row in session.exec(select(LinkStream)).all()] == before
        (entry,) = session.exec(select(AuditEntry)).all()
        assert entry.data == {"taken": 1, "left": 0}
        device = session.get(Device, TERMINAL)
        assert device is not None
        assert (device.condition, device.worst_code) == ("faulty", PAPER_OUT)
    (raised,) = rig.events(TERMINAL, "fault_raised")
    assert first.event_ids == [raised.id]
    assert raised.at < rig.now


def test_samples_go_to_the_health_of_their_device(rig: FlushRig) -> None:
    columns = HealthColumns(rig.wall_ms(), 1000, 2, {"batt.level_pct": [80.0, 79.0]})
    bury(rig, columns, kind=StreamKind.BULK)
    assert play(rig).taken == 1
    with reading(rig.engine) as session:
        assert [block.seq for block in session.exec(select(HealthBlock)).all()] == [1]
        assert [one.number for one in newest_of(session, TERMINAL).values()] == [79.0]


def test_a_large_block_of_samples_is_kept_whole_and_played(rig: FlushRig) -> None:
    names = [f"sys.m{n}_pct" for n in range(120)]
    columns = HealthColumns(
        rig.wall_ms(), 1000, 120, {name: [(len(name) * 7 + n) % 97 + 0.25 for n in range(120)] for name in names}
    )
    known = rig.record(TERMINAL, columns)
    # A field that the next version has: larger than the message that brings it.
    later = known[:-1] + b',"later":1}'
    sent = codec.encode(Batch(BULK, 1, [msgspec.Raw(later)]), deflate=True)
    assert len(sent.payload) < len(later)
    assert len(later) > 64 * 1024
    rig.flush(decode(Received(f"fleet/v1/{TERMINAL}/up/bulk", sent.payload, sent.content_type, 1, 1)))
    with transaction(rig.engine) as session:
        letter = session.exec(select(DeadLetter)).one()
        assert letter.payload == later
        letter.payload = known
        session.add(letter)
    assert play(rig).taken == 1
    with reading(rig.engine) as session:
        assert left(session) == []
        assert [block.seq for block in session.exec(select(HealthBlock)).all()] == [1]


def test_a_piece_is_bounded_in_bytes_and_the_next_goes_on_behind_it(
    rig: FlushRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(rig, fault(rig), fault(rig), fault(rig))
    monkeypatch.setattr(replay_module, "PIECE_BYTES", 400)
    first = play(rig)
    second = play(rig, after_id=first.last_id)
    assert (first.taken, second.taken) == (1, 1)


def test_what_is_still_not_understood_stays_and_is_counted_by_why(rig: FlushRig) -> None:
    bury(rig, fault(rig), fault(rig), fault(rig))
    with transaction(rig.engine) as session:
        letters = session.exec(select(DeadLetter).order_by(DeadLetter.id)).all()  # type: ignore[arg-type]  # SQLModel types columns as their values
        letters[0].payload = letters[0].payload[:40]
        letters[1].payload = rig.record(OTHER, fault(rig))
        letters[2].seq = 9
        session.add_all(letters)
        session.add(replaced(letters[0], topic_kind="hello", stream=None, seq=None))
        session.add(replaced(letters[0], link_id="d-unknown00000001"))
    counted = play(rig)
    assert counted.taken == 0
    assert counted.left == {
        "not_decodable": 1,
        "foreign_device": 1,
        "not_passed_over": 1,
        "not_a_record": 1,
        "stranger": 1,
    }
    with reading(rig.engine) as session:
        assert len(left(session)) == 5
    assert rig.events(type_="fault_raised") == []


def replaced(letter: DeadLetter, **changes: object) -> DeadLetter:
    return DeadLetter(**{**letter.model_dump(exclude={"id"}), **changes})


def test_a_record_that_its_sender_has_sent_again_is_not_told_twice(rig: FlushRig) -> None:
    # Unlike a fault, a verdict has no name by which the second one would be known.
    bury(rig, Verdict("line.statistics", Outcome.PASS, item="n", value=1, unit="frames"))
    with transaction(rig.engine) as session:
        letter = session.exec(select(DeadLetter)).one()
        session.add(replaced(letter))
    assert play(rig).taken == 2
    with transaction(rig.engine) as session:
        session.add(replaced(letter))
    assert play(rig).taken == 1
    with reading(rig.engine) as session:
        assert left(session) == []
    assert len(rig.events(TERMINAL, "verdict")) == 1


def test_an_attached_device_is_heard_through_its_gateway_and_named_letters_only_are_played(rig: FlushRig) -> None:
    bury(rig, fault(rig), link=GATEWAY)
    with transaction(rig.engine) as session:
        letter = session.exec(select(DeadLetter)).one()
        letter.payload = rig.record(PRINTER, fault(rig))
        session.add(letter)
        number = letter.id or 0
    assert play(rig, ids=[number + 1]).taken == 0
    assert play(rig, ids=[number]).taken == 1
    assert [event.device_id for event in rig.events(type_="fault_raised")] == [PRINTER]


def test_letters_of_another_tenant_are_not_touched(rig: FlushRig) -> None:
    bury(rig, fault(rig))
    with transaction(rig.engine) as session:
        stranger = replace(actor(Role.OPERATOR), tenant_id="other")
        assert replay(session, stranger, rig.now).last_id is None
    with reading(rig.engine) as session:
        assert len(left(session)) == 1
