"""MQTT 5 packets as bytes: what a service needs that connects, subscribes, takes and gives messages of QoS 0 and 1.

Rules: OASIS MQTT 5.0, sections 1.5 (types), 2.1 and 2.2 (headers, properties), 3 (packets). Of properties only the
content type of a message and the receive maximum of the server are kept; the others are passed over by their type.

Invariant: `PacketReader` gives the same packets however the bytes are cut, holds at most one packet that is not
complete, and never raises on what the other side sent. What packets mean together it leaves to its users
(`fleet_server.ingest.broker_session`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from protocol.errors import Malformed, ProtocolError

MAX_PACKET_BYTES = 268_435_455 + 5
_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGRESP, _DISCONNECT = 0x20, 0x30, 0x40, 0x90, 0xD0, 0xE0
_SESSION_EXPIRY, _RECEIVE_MAXIMUM, _MAXIMUM_PACKET, _CONTENT_TYPE = 0x11, 0x21, 0x27, 0x03
_CLEAN_START = 0x02
_PAIR, _LENGTH_PREFIXED, _VARYING = -3, -2, -1
# How long the value of each property is, by its identifier (2.2.2.2).
_SIZES = (
    dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1)
    | dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2)
    | dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4)
    | dict.fromkeys((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F), _LENGTH_PREFIXED)
    | {0x0B: _VARYING, 0x26: _PAIR}
)


class PacketNotEncodable(ProtocolError):
    code = "packet_not_encodable"


class Connack(msgspec.Struct, frozen=True):
    """``reason`` 0: accepted. ``receive_maximum``: how many of our messages of QoS 1 may wait for their answer."""

    reason: int
    receive_maximum: int = 65535


class Publish(msgspec.Struct, frozen=True, gc=False):
    """``mid`` is 0 with QoS 0."""

    topic: str
    payload: bytes
    content_type: str | None
    mid: int
    qos: int


class Puback(msgspec.Struct, frozen=True):
    mid: int
    reason: int = 0


class Suback(msgspec.Struct, frozen=True):
    mid: int
    reasons: bytes


class Unsuback(msgspec.Struct, frozen=True):
    mid: int


class Pingresp(msgspec.Struct, frozen=True):
    pass


class Disconnect(msgspec.Struct, frozen=True):
    reason: int = 0


Packet = Connack | Publish | Puback | Suback | Unsuback | Pingresp | Disconnect


class _BadPacket(Exception):
    """Never leaves this module."""


class PacketReader:
    """Bytes to packets. After a ``Malformed`` nothing more comes: the connection is of no use any more."""

    def __init__(self, max_packet_bytes: int = MAX_PACKET_BYTES) -> None:
        self._max_packet_bytes = max_packet_bytes
        self._rest = b""
        self._is_broken = False

    @property
    def is_between_packets(self) -> bool:
        return not self._rest

    def feed(self, data: bytes) -> list[Packet | Malformed]:
        if self._is_broken:
            return []
        buffer = self._rest + data if self._rest else data
        found: list[Packet | Malformed] = []
        start, end = 0, len(buffer)
        try:
            while end - start >= 2:
                # Short packets, nearly all of them, have their length in one byte.
                length, body = buffer[start + 1], start + 2
                if length > 127:
                    length, body = _varying(buffer, start + 1)
                    if body == 0:
                        break
                self._allow(body + length - start)
                if body + length > end:
                    break
                found.append(_packet(buffer[start], buffer, body, body + length))
                start = body + length
        except (_BadPacket, IndexError, UnicodeDecodeError) as error:
            self._is_broken = True
            found.append(Malformed("packet", str(error)[:200]))
        self._rest = b"" if self._is_broken else buffer[start:]
        return found

    def _allow(self, packet_bytes: int) -> None:
        if packet_bytes > self._max_packet_bytes:
            raise _BadPacket(f"packet of {packet_bytes} bytes, limit {self._max_packet_bytes}")


def _packet(first: int, buffer: bytes, at: int, end: int) -> Packet:
    kind = first & 0xF0
    if kind == _PUBLISH:
        return _publish(first, buffer, at, end)
    body = buffer[at:end]
    match kind:
        case 0x40:
            return Puback(_two(body, 0), body[2] if len(body) > 2 else 0)
        case 0x20:
            properties, _ = _properties(body, 2)
            return Connack(body[1], _two(properties[_RECEIVE_MAXIMUM], 0) if _RECEIVE_MAXIMUM in properties else 65535)
        case 0x90:
            _, rest = _properties(body, 2)
            return Suback(_two(body, 0), body[rest:])
        case 0xB0:
            return Unsuback(_two(body, 0))
        case 0xD0:
            return Pingresp()
        case 0xE0:
            return Disconnect(body[0] if body else 0)
    raise _BadPacket(f"packet of type {first >> 4} is not for a client of ours")


def _publish(first: int, buffer: bytes, at: int, end: int) -> Publish:
    qos = (first >> 1) & 3
    topic_end = at + 2 + (buffer[at] << 8 | buffer[at + 1])
    topic = buffer[at + 2 : topic_end].decode()
    mid, properties_at = 0, topic_end
    if qos == 1:
        mid, properties_at = buffer[topic_end] << 8 | buffer[topic_end + 1], topic_end + 2
    elif qos:
        raise _BadPacket(f"message of QoS {qos}, which nobody asked for")
    content_type = None
    payload_at = properties_at + 1
    if buffer[properties_at]:
        properties, payload_at = _properties(buffer, properties_at)
        found = properties.get(_CONTENT_TYPE)
        content_type = None if found is None else found.decode()
    if payload_at > end:
        raise _BadPacket("message shorter than its header says")
    return Publish(topic, buffer[payload_at:end], content_type, mid, qos)


def _properties(buffer: bytes, at: int) -> tuple[dict[int, bytes], int]:
    """Values by identifier (of those that may be there more than once, the last), and where the properties end."""
    if at == len(buffer):
        return {}, at
    length, at = _varying(buffer, at)
    end = at + length
    if at == 0 or end > len(buffer):
        raise _BadPacket("properties longer than their packet")
    values: dict[int, bytes] = {}
    while at < end:
        identifier = buffer[at]
        size, at = _SIZES.get(identifier, 0), at + 1
        if size == 0:
            raise _BadPacket(f"property 0x{identifier:02x} is not one of MQTT 5")
        if size == _VARYING:
            value_at, value_end = at, _varying(buffer, at)[1]
        elif size == _LENGTH_PREFIXED:
            value_at, value_end = at + 2, at + 2 + _two(buffer, at)
        elif size == _PAIR:
            value_at = at + 2 + _two(buffer, at)
            value_end = value_at + 2 + _two(buffer, value_at)
        else:
            value_at, value_end = at, at + size
        if not at < value_end <= end:
            raise _BadPacket(f"property 0x{identifier:02x} is longer than all of them")
        values[identifier], at = buffer[value_at:value_end], value_end
    return values, end


def _varying(buffer: bytes, at: int) -> tuple[int, int]:
    """The number that begins at ``at`` and where it ends; 0 and 0 where it is not complete."""
    value = 0
    for place in range(4):
        if at + place == len(buffer):
            return 0, 0
        byte = buffer[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise _BadPacket("number of more than four bytes")


def _two(buffer: bytes, at: int) -> int:
    return buffer[at] << 8 | buffer[at + 1]


def connect(client_id: str, keepalive_s: int, *, max_packet_bytes: int = MAX_PACKET_BYTES) -> bytes:
    """A session that is forgotten when it ends. Larger packets are not sent to us."""
    properties = bytes([_RECEIVE_MAXIMUM, 0xFF, 0xFF, _MAXIMUM_PACKET]) + max_packet_bytes.to_bytes(4, "big")
    start = b"\x00\x04MQTT\x05" + bytes([_CLEAN_START]) + keepalive_s.to_bytes(2, "big")
    return _framed(0x10, start + _number(len(properties)) + properties + _text(client_id))


def subscribe(mid: int, filters: Sequence[tuple[str, int]]) -> bytes:
    return _framed(
        0x82, mid.to_bytes(2, "big") + b"\x00" + b"".join(_text(name) + bytes([qos]) for name, qos in filters)
    )


def unsubscribe(mid: int, filters: Sequence[str]) -> bytes:
    return _framed(0xA2, mid.to_bytes(2, "big") + b"\x00" + b"".join(_text(name) for name in filters))


def publish(topic: str, payload: bytes, qos: int, mid: int, content_type: str | None) -> bytes:
    properties = b"\x00"
    if content_type is not None:
        value = _text(content_type)
        properties = _number(len(value) + 1) + bytes([_CONTENT_TYPE]) + value
    head = _text(topic) + (mid.to_bytes(2, "big") if qos else b"")
    return _framed(_PUBLISH | qos << 1, head + properties + payload)


def puback(mid: int) -> bytes:
    return b"\x40\x02" + mid.to_bytes(2, "big")


PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"


def _framed(first: int, body: bytes) -> bytes:
    return bytes([first]) + _number(len(body)) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 65535:
        raise PacketNotEncodable(f"text is {len(encoded)} bytes, limit 65535")
    return len(encoded).to_bytes(2, "big") + encoded


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    if len(encoded) > 4:
        raise PacketNotEncodable("packet is longer than 268,435,455 bytes")
    return bytes(encoded)
