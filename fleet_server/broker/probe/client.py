"""One client of paho with all that MQTT 5 lets a client say, told by plain calls that wait for the broker's answer.

Invariant: it never connects again by itself, and ``close`` ends its thread whatever state it is in.
"""

from __future__ import annotations

import queue
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fleet_server.broker.probe.errors import NoAnswer

ANSWER_S: Final = 10.0
FAILURE_FROM: Final = 0x80
MAX_QUEUED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    host: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """``name`` is what the broker is expected to know it by, and its client id. ``context`` None: without TLS."""

    name: str
    context: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class Will:
    topic: str
    payload: bytes = b"will"


@dataclass(frozen=True, slots=True)
class Wishes:
    client_id: str | None = None
    clean_start: bool = True
    expiry_s: int = 0
    keepalive_s: int = 30
    receive_maximum: int = 1000
    will: Will | None = None
    acknowledges: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    payload: bytes
    mid: int
    qos: int
    properties: dict[str, Any]


def properties_of(packet: int, values: dict[str, Any]) -> Properties:
    made = Properties(packet)  # type: ignore[no-untyped-call]  # untyped in paho
    for name, value in values.items():
        setattr(made, name, value)
    return made


class ProbeClient:
    def __init__(self, place: Place, identity: Identity, wishes: Wishes) -> None:
        self._place, self._wishes = place, wishes
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=wishes.client_id or identity.name,
            protocol=MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if identity.context is not None:
            self._client.tls_set_context(identity.context)
        self._client.max_queued_messages_set(MAX_QUEUED)
        self._connected: queue.Queue[tuple[ConnectFlags, ReasonCode, dict[str, Any]]] = queue.Queue()
        self._lost: queue.Queue[ReasonCode] = queue.Queue()
        self._answers: queue.Queue[tuple[int, int]] = queue.Queue()
        self._messages: queue.Queue[Message] = queue.Queue(MAX_QUEUED)
        self.announced: dict[str, Any] = {}
        self.session_present = False
        self._listen()

    def connect(self) -> None:
        """Raises ``NoAnswer`` with the broker's reason."""
        options = {"SessionExpiryInterval": self._wishes.expiry_s, "ReceiveMaximum": self._wishes.receive_maximum}
        if self._wishes.will is not None:
            self._client.will_set(self._wishes.will.topic, self._wishes.will.payload, qos=1)
        try:
            self._client.connect(
                self._place.host,
                self._place.port,
                self._wishes.keepalive_s,
                clean_start=self._wishes.clean_start,
                properties=properties_of(PacketTypes.CONNECT, options),
            )
        except (OSError, ValueError) as error:
            raise NoAnswer(f"connecting: {error}") from error
        self._client.loop_start()
        try:
            flags, reason, self.announced = self._connected.get(timeout=ANSWER_S)
        except queue.Empty as error:
            raise NoAnswer("connecting: expected CONNACK, the broker hung up or was silent") from error
        if reason.is_failure:
            raise NoAnswer(f"connecting: {reason}")
        self.session_present = bool(flags.session_present)

    def subscribe(self, *filters: str) -> None:
        result, mid = self._client.subscribe([(name, 1) for name in filters])
        if result is not MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise NoAnswer(f"subscribing: {result.name}")
        self._answer_to(mid, "SUBACK")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, **properties: Any) -> int:
        """The broker's reason code."""
        return self._answer_to(self.send(topic, payload, retain=retain, **properties), "PUBACK")

    def send(self, topic: str, payload: bytes, *, retain: bool = False, **properties: Any) -> int:
        """Without waiting for the answer."""
        values = properties_of(PacketTypes.PUBLISH, properties)
        sent = self._client.publish(topic, payload, 1, retain=retain, properties=values)
        if sent.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise NoAnswer(f"publishing: {sent.rc.name}")
        return sent.mid

    def take(self, count: int, patience_s: float = ANSWER_S) -> list[Message]:
        """Up to ``count`` messages that come within ``patience_s``."""
        give_up_s = time.monotonic() + patience_s
        found: list[Message] = []
        while len(found) < count:
            try:
                found.append(self._messages.get(timeout=max(0.0, give_up_s - time.monotonic())))
            except queue.Empty:
                break
        return found

    def acknowledge(self, message: Message) -> None:
        self._client.ack(message.mid, message.qos)

    def is_lost(self, patience_s: float) -> bool:
        try:
            self._lost.get(timeout=patience_s)
        except queue.Empty:
            return False
        return True

    def cut(self) -> None:
        """The connection ends without a word, as when a process is killed."""
        wire = self._client.socket()
        if isinstance(wire, socket.socket):
            wire.shutdown(socket.SHUT_RDWR)
        self.is_lost(ANSWER_S)

    def freeze(self) -> None:
        """Says nothing more, and keeps the connection open."""
        self._client.loop_stop()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        # paho closes its last sockets when it is dropped, which a cycle through these would leave to the collector.
        client = self._client
        client.on_connect = client.on_disconnect = client.on_publish = client.on_subscribe = client.on_message = None

    def _listen(self) -> None:
        client = self._client
        client.on_connect = lambda _c, _d, flags, reason, found: self._connected.put((flags, reason, _values(found)))
        client.on_disconnect = lambda _c, _d, _flags, reason, _found: self._lost.put(reason)
        client.on_publish = lambda _c, _d, mid, reason, _found: self._answers.put((mid, reason.value))
        client.on_subscribe = lambda _c, _d, mid, reasons, _found: self._answers.put((mid, reasons[0].value))
        client.on_message = self._message

    def _message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if self._wishes.acknowledges:
            self._client.ack(message.mid, message.qos)
        values = _values(message.properties)
        self._messages.put(Message(message.topic, bytes(message.payload), message.mid, message.qos, values))

    def _answer_to(self, mid: int, what: str) -> int:
        give_up_s = time.monotonic() + ANSWER_S
        while time.monotonic() < give_up_s:
            try:
                answered, reason = self._answers.get(timeout=0.1)
            except queue.Empty:
                if not self._lost.empty():
                    raise NoAnswer(f"expected {what}, the broker ended the connection: {self._lost.get()}") from None
                continue
            if answered == mid:
                return reason
        raise NoAnswer(f"expected {what}, the broker was silent for {ANSWER_S:.0f} s")


def _values(properties: Properties | None) -> dict[str, Any]:
    return dict(vars(properties)) if properties is not None else {}
