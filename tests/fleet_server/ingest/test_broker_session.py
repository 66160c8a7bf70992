"""The worker's side of MQTT, told bytes: what it says to begin with, what it holds back, when it gives up."""

from __future__ import annotations

import pytest

from fleet_server.ingest.broker_session import KEEPALIVE_S, MAX_OUTGOING_BYTES, MAX_WAITING, BrokerSession, Standing
from protocol import mqtt_packets as packets
from protocol.broker_rules import MAX_PACKET_BYTES
from protocol.mqtt_packets import Publish

ACCEPTED = bytes.fromhex("2003 000000")
ACCEPTED_TWO = bytes.fromhex("2006 000003 210002")
SUBSCRIBED = bytes.fromhex("9004 00010001")


def take(session: BrokerSession) -> bytes:
    written = bytes(session.outgoing)
    session.outgoing.clear()
    return written


def standing(session: BrokerSession) -> Standing:
    """By a call, for it changes between two looks."""
    return session.standing


@pytest.fixture
def session() -> BrokerSession:
    return BrokerSession("c", ["$share/g/t"], 0.0)


def opened(session: BrokerSession, accepted: bytes = ACCEPTED) -> BrokerSession:
    session.receive(accepted + SUBSCRIBED, 0.0)
    take(session)
    return session


def test_it_connects_then_subscribes_then_is_open(session: BrokerSession) -> None:
    assert take(session) == packets.connect("c", KEEPALIVE_S, max_packet_bytes=MAX_PACKET_BYTES)
    session.receive(ACCEPTED, 0.1)
    assert standing(session) == Standing.CONNECTING
    assert take(session) == packets.subscribe(1, [("$share/g/t", 1)])
    session.receive(SUBSCRIBED, 0.2)
    assert standing(session) == Standing.OPEN


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("2003 008700", "refused the connection: reason 0x87"),
        ("2003 000000 9004 00010087", "refused a subscription: reasons 87"),
        ("e0018b", "ended the connection: reason 0x8b"),
        ("1000", "not MQTT 5"),
    ],
)
def test_a_broker_that_says_no_ends_it_with_its_reason(session: BrokerSession, said: str, why: str) -> None:
    session.receive(bytes.fromhex(said), 0.1)
    assert standing(session) == Standing.OVER
    assert why in session.why_over


def test_messages_are_handed_on_and_answered_together(session: BrokerSession) -> None:
    opened(session)
    sent = [Publish("t", b"1", None, 5, 1), Publish("t", b"2", "application/json", 6, 1)]
    data = b"".join(packets.publish(one.topic, one.payload, 1, one.mid, one.content_type) for one in sent)
    assert session.receive(data, 0.1) == sent
    session.acknowledge([5, 6])
    assert take(session) == bytes.fromhex("40020005 40020006")


def test_no_more_wait_for_an_answer_than_the_broker_allows_and_the_rest_follow_in_order(session: BrokerSession) -> None:
    opened(session, ACCEPTED_TWO)
    for number in range(4):
        session.publish("t", b"%d" % number, 1, "x")
    session.publish("t", b"live", 0, "x")
    first = packets.PacketReader().feed(take(session))
    assert [(one.payload, one.qos) for one in first if isinstance(one, Publish)] == [(b"0", 1), (b"1", 1), (b"live", 0)]
    mids = [one.mid for one in first if isinstance(one, Publish) and one.qos]
    session.receive(packets.puback(mids[1]) + packets.puback(mids[0]), 0.1)
    rest = packets.PacketReader().feed(take(session))
    assert [one.payload for one in rest if isinstance(one, Publish)] == [b"2", b"3"]
    assert session.dropped == 0


def test_what_carries_a_time_goes_unanswered_rather_than_late(session: BrokerSession) -> None:
    opened(session, ACCEPTED_TWO)
    for number in range(4):
        session.publish("t", b"%d" % number, 1, "x", is_timed=True)
    session.publish("t", b"command", 1, "x")
    first = packets.PacketReader().feed(take(session))
    assert [(one.payload, one.qos) for one in first if isinstance(one, Publish)] == [
        (b"0", 1),
        (b"1", 1),
        (b"2", 0),
        (b"3", 0),
    ]
    session.receive(packets.puback(first[0].mid), 0.1)  # type: ignore[union-attr]  # all are messages
    assert [one.payload for one in packets.PacketReader().feed(take(session)) if isinstance(one, Publish)] == [
        b"command"
    ]


def test_what_waits_is_bounded_and_what_does_not_fit_is_counted(session: BrokerSession) -> None:
    opened(session, ACCEPTED_TWO)
    for _ in range(MAX_WAITING + 2 + 3):
        session.publish("t", b"", 1, "x")
    assert session.dropped == 3
    opened(BrokerSession("d", [], 0.0)).leave()


def test_half_of_what_may_wait_is_left_for_what_cannot_be_put_off(session: BrokerSession) -> None:
    assert not session.has_room, "not accepted yet"
    opened(session, ACCEPTED_TWO)
    assert session.has_room
    for _ in range(MAX_WAITING // 2 + 3):
        session.publish("t", b"", 1, "x")
    assert not session.has_room
    assert session.dropped == 0
    other = opened(BrokerSession("d", [], 0.0))
    other.publish("t", bytes(MAX_OUTGOING_BYTES // 2), 0, "x")
    assert not other.has_room


def test_a_broker_that_reads_nothing_fills_no_memory(session: BrokerSession) -> None:
    opened(session)
    for _ in range(20):
        session.publish("t", bytes(1024 * 1024), 0, "x")
    assert len(session.outgoing) <= MAX_OUTGOING_BYTES + 1024 * 1024 + 100
    assert session.dropped == 4


def test_nothing_is_published_before_the_broker_has_accepted_or_after_the_goodbye(session: BrokerSession) -> None:
    take(session)
    session.publish("t", b"", 0, "x")
    opened(session).leave()
    session.publish("t", b"", 1, "x")
    session.acknowledge([1])
    assert take(session) == packets.DISCONNECT
    assert session.dropped == 2


def test_a_numbers_turn_comes_again_only_when_it_was_answered(session: BrokerSession) -> None:
    opened(session)
    session.publish("t", b"kept", 1, "x")
    for _ in range(65_535):
        session.publish("t", b"", 1, "x")
        session.receive(packets.puback(session._next_mid), 0.1)
        take(session)
    assert session._in_flight == {3}


def test_it_asks_a_quiet_broker_and_gives_a_silent_one_up_only_when_everything_was_read(session: BrokerSession) -> None:
    opened(session)
    session.on_written(0.0)
    session.on_time(KEEPALIVE_S / 2, may_judge=True)
    assert take(session) == b""
    session.on_time(KEEPALIVE_S / 2 + 1, may_judge=True)
    assert take(session) == packets.PINGREQ
    session.receive(bytes.fromhex("d000"), KEEPALIVE_S / 2 + 2)
    session.on_time(KEEPALIVE_S + 20, may_judge=True)
    assert take(session) == packets.PINGREQ
    session.on_time(3 * KEEPALIVE_S, may_judge=False)
    assert standing(session) == Standing.OPEN
    session.on_time(3 * KEEPALIVE_S, may_judge=True)
    assert standing(session) == Standing.OVER
    assert take(session) == b""
