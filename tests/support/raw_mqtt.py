"""MQTT 5 on a socket without a thread: what a client must not be able to do is best asked without a library in between.

``drain`` is a fence on a broker with one thread: whatever was queued for this connection before its PINGREQ comes
before the PINGRESP.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from protocol import mqtt_packets as packets
from protocol.errors import Malformed
from protocol.mqtt_packets import Connack, Disconnect, Packet, PacketReader, Pingresp, Puback, Publish, Suback

DEADLINE_S = 20.0
REFUSED = (ssl.SSLError, ConnectionError)


@dataclass(frozen=True, slots=True)
class Will:
    topic: str
    payload: bytes
    retain: bool = False


@dataclass(slots=True)
class RawClient:
    link: socket.socket
    reader: PacketReader = field(default_factory=PacketReader)
    heard: list[Publish] = field(default_factory=list)
    pubacks: dict[int, int] = field(default_factory=dict)
    ended: int | None = None  # the reason the broker gave, -1: it just hung up

    def send(self, data: bytes) -> None:
        try:
            self.link.sendall(data)
        except REFUSED:
            self.ended = self.ended if self.ended is not None else -1

    def take(self) -> list[Packet]:
        """What came with the next read. Messages of QoS 1 are acknowledged."""
        try:
            data = self.link.recv(65536)
        except REFUSED:
            data = b""
        if not data:
            self.ended = self.ended if self.ended is not None else -1
            return []
        found: list[Packet] = []
        for packet in self.reader.feed(data):
            assert not isinstance(packet, Malformed), packet
            found.append(packet)
            match packet:
                case Publish():
                    self.heard.append(packet)
                    if packet.qos:
                        self.send(packets.puback(packet.mid))
                case Puback(mid, reason):
                    self.pubacks[mid] = reason
                case Disconnect(reason):
                    self.ended = reason
                case _:
                    pass
        return found

    def wait(self, kind: type[Packet]) -> Packet | None:
        """None when the broker ended the connection instead."""
        while self.ended is None:
            for packet in self.take():
                if isinstance(packet, kind):
                    return packet
        return None

    def subscribe(self, *filters: str) -> bytes | None:
        self.send(packets.subscribe(1, [(name, 1) for name in filters]))
        answer = self.wait(Suback)
        return answer.reasons if isinstance(answer, Suback) else None

    def unsubscribe(self, *filters: str) -> None:
        self.send(packets.unsubscribe(2, filters))
        self.wait(packets.Unsuback)

    def drain(self) -> list[Publish]:
        self.send(packets.PINGREQ)
        self.wait(Pingresp)
        heard, self.heard = self.heard, []
        return heard

    def hang_up(self) -> None:
        """Without a word, as a cut link does."""
        self.link.close()


def retained(topic: str, payload: bytes, mid: int) -> bytes:
    data = bytearray(packets.publish(topic, payload, 1, mid, None))
    data[0] |= 1
    return bytes(data)


def connect_packet(client_id: str, will: Will | None = None, keepalive_s: int = 60) -> bytes:
    flags, body = 0x02, _text(client_id)
    if will is not None:
        flags |= 0x04 | 0x08 | (0x20 if will.retain else 0)
        body += b"\x00" + _text(will.topic) + struct.pack(">H", len(will.payload)) + will.payload
    start = b"\x00\x04MQTT\x05" + bytes([flags]) + struct.pack(">H", keepalive_s) + b"\x00"
    return b"\x10" + _number(len(start) + len(body)) + start + body


def open_raw(
    address: tuple[str, int], context: ssl.SSLContext, client_id: str = "x", will: Will | None = None
) -> RawClient:
    """Raises one of ``REFUSED`` where the handshake or the CONNECT is refused."""
    raw = socket.create_connection(address, DEADLINE_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        link = context.wrap_socket(raw, server_hostname=address[0])
    except REFUSED:
        raw.close()
        raise
    client = RawClient(link)
    client.send(connect_packet(client_id, will))
    answer = client.wait(Connack)
    if not isinstance(answer, Connack) or answer.reason:
        link.close()
        raise ConnectionRefusedError(f"expected CONNACK 0, came {answer}, connection ended: {client.ended}")
    return client


@contextmanager
def raw_client(
    address: tuple[str, int], context: ssl.SSLContext, client_id: str = "x", will: Will | None = None
) -> Iterator[RawClient]:
    client = open_raw(address, context, client_id, will)
    try:
        yield client
    finally:
        client.hang_up()


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def _number(value: int) -> bytes:
    assert value < 16_384
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])
