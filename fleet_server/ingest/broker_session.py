"""One MQTT connection of an ingest worker as a thing that is told bytes and answers bytes; no socket, no clock.

It connects, subscribes, hands messages on, and keeps what is to be sent until somebody takes it. When as many of its
own messages wait for their answer as the broker allows, more wait unsent.

Invariants: what waits is bounded (``MAX_WAITING`` messages, ``MAX_OUTGOING_BYTES``) and what does not fit is counted in
``dropped``. Nothing of one session is sent again in another. Reading may pause: the broker is judged silent only after
something was read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum

import structlog

from protocol import mqtt_packets as packets
from protocol.broker_rules import MAX_PACKET_BYTES
from protocol.errors import Malformed
from protocol.mqtt_packets import Connack, Disconnect, PacketReader, Pingresp, Puback, Publish, Suback, Unsuback

KEEPALIVE_S = 30
MAX_WAITING = 10_000
MAX_OUTGOING_BYTES = 16 * 1024 * 1024
# MQTT 5, 2.4: reason codes from here on are failures.
_FAILURE_FROM = 0x80
_SUBSCRIBE_MID, _UNSUBSCRIBE_MID = 1, 2
_log = structlog.get_logger(__name__)


class Standing(Enum):
    CONNECTING = "connecting"
    OPEN = "open"  # connected and subscribed
    RETIRED = "retired"  # the broker has confirmed that it gives nothing more
    OVER = "over"


class BrokerSession:
    """``outgoing`` is what is to be written next; the caller takes away from its front what it wrote."""

    def __init__(self, client_id: str, filters: Sequence[str], now_s: float) -> None:
        self._filters = [(name, 1) for name in filters]
        self._reader = PacketReader(MAX_PACKET_BYTES)
        self._receive_maximum = 0
        self._in_flight: set[int] = set()
        self._waiting: deque[tuple[str, bytes, str]] = deque()
        self._next_mid = _UNSUBSCRIBE_MID
        self._pinged_s: float | None = None
        self._wrote_s = self._read_s = now_s
        self.standing = Standing.CONNECTING
        self.why_over = ""
        self.dropped = 0
        self.outgoing = bytearray(packets.connect(client_id, KEEPALIVE_S, max_packet_bytes=MAX_PACKET_BYTES))

    @property
    def is_connected(self) -> bool:
        return self.standing is not Standing.OVER and self._receive_maximum > 0

    @property
    def has_room(self) -> bool:
        """Whether what can wait should be given now: half of what may wait unsent is kept for what cannot."""
        is_behind = len(self._waiting) > MAX_WAITING // 2 or len(self.outgoing) > MAX_OUTGOING_BYTES // 2
        return self.is_connected and not is_behind

    def receive(self, data: bytes, now_s: float) -> list[Publish]:
        messages: list[Publish] = []
        self._pinged_s, self._read_s = None, now_s
        for packet in self._reader.feed(data):
            if type(packet) is Publish:
                messages.append(packet)
            else:
                self._take(packet)
        return messages

    def publish(self, topic: str, payload: bytes, qos: int, content_type: str, *, is_timed: bool = False) -> None:
        """``is_timed``: rather unanswered, as QoS 0, than late. The broker's answers lie behind all that it gives us to
        read, after an outage for minutes.
        """
        if not self.is_connected or len(self.outgoing) > MAX_OUTGOING_BYTES:
            self.dropped += 1
        elif qos and len(self._in_flight) < self._receive_maximum:
            self._send(topic, payload, content_type)
        elif qos == 0 or is_timed:
            self.outgoing += packets.publish(topic, payload, 0, 0, content_type)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append((topic, payload, content_type))
        else:
            self.dropped += 1

    def acknowledge(self, mids: Sequence[int]) -> None:
        if self.is_connected:
            self.outgoing += b"".join([packets.puback(mid) for mid in mids])

    def on_written(self, now_s: float) -> None:
        self._wrote_s = now_s

    def on_time(self, now_s: float, *, may_judge: bool) -> None:
        """``may_judge``: everything that came was read, so an answer that is not there did not come."""
        if self._pinged_s is not None:
            if may_judge and now_s - self._pinged_s > KEEPALIVE_S:
                self._end("the broker is silent")
        elif now_s - min(self._wrote_s, self._read_s) > KEEPALIVE_S / 2:
            self._pinged_s = now_s
            self.outgoing += packets.PINGREQ

    def retire(self) -> None:
        """Messages go to other workers from when the broker confirms it."""
        if self.standing is Standing.OPEN:
            self.outgoing += packets.unsubscribe(_UNSUBSCRIBE_MID, [name for name, _ in self._filters])

    def leave(self) -> None:
        """So that the broker gives what this one holds to another worker at once."""
        if self.is_connected:
            self.outgoing += packets.DISCONNECT
        self.standing = Standing.OVER

    def _take(self, packet: packets.Packet | Malformed) -> None:
        match packet:
            case Connack(reason, receive_maximum):
                if reason >= _FAILURE_FROM:
                    self._end(f"the broker refused the connection: reason 0x{reason:02x}")
                    return
                self._receive_maximum = max(1, receive_maximum)
                self.outgoing += packets.subscribe(_SUBSCRIBE_MID, self._filters)
            case Suback(_, reasons):
                if any(reason >= _FAILURE_FROM for reason in reasons):
                    self._end(f"the broker refused a subscription: reasons {reasons.hex()}")
                    return
                self.standing = Standing.OPEN
            case Unsuback():
                self.standing = Standing.RETIRED
            case Puback(mid):
                # A refusal is an answer too: what was refused is sent again by its own timers.
                self._in_flight.discard(mid)
                while self._waiting and len(self._in_flight) < self._receive_maximum:
                    self._send(*self._waiting.popleft())
            case Disconnect(reason):
                self._end(f"the broker ended the connection: reason 0x{reason:02x}")
            case Malformed(_, detail):
                self._end(f"the broker sent what is not MQTT 5: {detail}")
            case Pingresp() | Publish():
                pass

    def _send(self, topic: str, payload: bytes, content_type: str) -> None:
        while True:
            self._next_mid = self._next_mid % 65535 + 1
            if self._next_mid not in self._in_flight:
                break
        self._in_flight.add(self._next_mid)
        self.outgoing += packets.publish(topic, payload, 1, self._next_mid, content_type)

    def _end(self, why: str) -> None:
        self.why_over = why
        self.standing = Standing.OVER
