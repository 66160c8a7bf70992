"""MQTT 5 packets: the examples of the standard, properties as paho writes them, and bytes nobody should send."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from protocol import mqtt_packets as packets
from protocol.errors import Malformed
from protocol.mqtt_packets import Connack, Disconnect, PacketReader, Pingresp, Puback, Publish, Suback

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
messages = st.builds(
    Publish, texts, st.binary(max_size=300), st.none() | texts, st.integers(1, 65535), st.sampled_from([0, 1])
).map(lambda one: one if one.qos else Publish(one.topic, one.payload, one.content_type, 0, 0))
few = settings(max_examples=60, deadline=None)


def encoded(one: Publish) -> bytes:
    return packets.publish(one.topic, one.payload, one.qos, one.mid, one.content_type)


def read(data: bytes) -> list[packets.Packet | Malformed]:
    return PacketReader().feed(data)


def test_the_standards_example_of_a_publish_is_read_and_written() -> None:
    # OASIS MQTT 5.0, 3.3.2.4: topic a/b, packet identifier 10, no properties.
    header = bytes.fromhex("0003612f62000a00")
    assert packets.publish("a/b", b"xy", 1, 10, None) == b"\x32\x0a" + header + b"xy"
    assert read(b"\x32\x0a" + header + b"xy") == [Publish("a/b", b"xy", None, 10, 1)]


def test_the_standards_example_of_a_subscribe_is_written() -> None:
    # 3.8.3.2: a/b at QoS 1 and c/d at QoS 2; 3.8.2.2: packet identifier 10 and no properties.
    assert packets.subscribe(10, [("a/b", 1), ("c/d", 2)]) == bytes.fromhex("820f000a000003612f6201000363 2f6402")


def test_a_connect_is_clean_and_says_what_it_can_take() -> None:
    # 3.1.2: name and level; flags 3.1.2.3; keepalive; 3.1.2.11.3 and 3.1.2.11.4 the two properties; then the client id.
    expected = "101a 00044d515454 05 02 001e 08 21ffff 2700040000 0005 6162636465"
    assert packets.connect("abcde", 30, max_packet_bytes=262_144) == bytes.fromhex(expected)


@pytest.mark.parametrize(("length", "written"), [(127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001")])
def test_lengths_are_those_of_the_standards_table(length: int, written: str) -> None:
    # 1.5.5, table 1-1.
    packet = packets.publish("a", bytes(length - 4), 0, 0, None)
    assert packet[1:].startswith(bytes.fromhex(written))
    assert read(packet) == [Publish("a", bytes(length - 4), None, 0, 0)]


def test_answers_of_a_broker_are_read() -> None:
    assert read(bytes.fromhex("2006 000003 21000a")) == [Connack(0, 10)]
    assert read(bytes.fromhex("2003 008700")) == [Connack(0x87)]
    assert read(bytes.fromhex("9005 000a000187")) == [Suback(10, b"\x01\x87")]
    assert read(bytes.fromhex("4002 000a 4003 000b10 4004 000c1000")) == [Puback(10), Puback(11, 16), Puback(12, 16)]
    assert read(bytes.fromhex("d000 e000 e0018b")) == [Pingresp(), Disconnect(), Disconnect(0x8B)]
    assert packets.puback(10) == bytes.fromhex("4002000a")


@few
@given(st.lists(messages, max_size=6), st.lists(st.integers(0, 900), max_size=6))
def test_what_was_written_is_read_however_it_is_cut(sent: list[Publish], cuts: list[int]) -> None:
    data = b"".join(encoded(one) for one in sent)
    reader, found = PacketReader(), list[packets.Packet | Malformed]()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(places):
        found += reader.feed(data[begin:end])
    assert found == sent
    assert reader.is_between_packets


@few
@given(st.binary(max_size=60), messages)
def test_no_bytes_raise_and_after_bad_ones_nothing_more_comes(data: bytes, after: Publish) -> None:
    reader = PacketReader(1000)
    found = reader.feed(data)
    if any(isinstance(one, Malformed) for one in found):
        assert isinstance(found[-1], Malformed)
        assert reader.feed(encoded(after)) == []


@few
@given(messages, st.data())
def test_a_damaged_message_is_read_or_told(one: Publish, data: st.DataObject) -> None:
    damaged = bytearray(encoded(one))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    found = PacketReader(1000).feed(bytes(damaged))
    assert all(isinstance(packet, packets.Packet | Malformed) for packet in found)


@few
@given(
    texts, st.integers(0, 255), st.integers(0, 2**32 - 1), st.lists(st.tuples(texts, texts), max_size=3), st.booleans()
)
def test_properties_as_paho_writes_them_are_passed_over(
    content_type: str,
    utf8: int,
    expiry: int,
    pairs: list[tuple[str, str]],
    has_more: bool,
) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # untyped in paho
    properties.ContentType = content_type
    properties.PayloadFormatIndicator = utf8 % 2
    properties.MessageExpiryInterval = expiry
    properties.UserProperty = pairs
    if has_more:
        properties.ResponseTopic, properties.CorrelationData = "r", b"c"
        properties.SubscriptionIdentifier, properties.TopicAlias = 200_000, 7
    body = b"\x00\x01t" + properties.pack() + b"payload"  # type: ignore[no-untyped-call]  # as above
    length = len(body)
    number = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
    assert read(b"\x30" + number + body) == [Publish("t", b"payload", content_type, 0, 0)]


@pytest.mark.parametrize(
    "bad",
    [
        "34070003612f62000a00",  # QoS 2
        "1000",  # a packet for servers
        "30ffffffff7f",  # a length of five bytes
        "3006 000161 05 0300",  # properties longer than their packet
        "3005 000161 01 77",  # a property that there is not
        "3003 000561",  # a topic longer than its packet
        "3004 0001ff 00",  # a topic that is not UTF-8
        "2001 00",  # too short
        "4001 00",
    ],
)
def test_what_no_broker_may_send_is_told_once(bad: str) -> None:
    (found,) = read(bytes.fromhex(bad))
    assert isinstance(found, Malformed)


def test_a_packet_that_is_too_large_is_told_before_it_has_arrived() -> None:
    (found,) = PacketReader(1000).feed(packets.publish("t", bytes(2000), 0, 0, None)[:10])
    assert isinstance(found, Malformed)


def test_a_text_or_packet_that_does_not_fit_is_our_own_mistake() -> None:
    with pytest.raises(packets.PacketNotEncodable):
        packets.publish("t" * 70_000, b"", 0, 0, None)
