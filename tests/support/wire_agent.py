"""An agent that is nothing but the wire: it says hello, publishes batches and keeps what the server says.

A test can be as slow, repetitive or rude with it as it likes. It verifies and journals nothing.
"""

from __future__ import annotations

import base64
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from protocol import codec
from protocol.errors import Malformed
from protocol.identifiers import LinkId
from protocol.records import Record, RecordBody
from protocol.session import AttachedDevice, Flow, Hello, Presence, PresenceStatus, Profile, StreamPosition, Welcome
from protocol.signing import Envelope
from protocol.streams import Ack, Batch, StreamKind
from protocol.topics import Down, Up, down_filter, parse_down, up
from tests.support.broker import Broker

DEADLINE_S = 25.0


def until(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Polls; machines that run tests are slow and noisy."""
    give_up_at = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(0.005)


@dataclass(slots=True)
class Heard:
    """What the server said."""

    welcomes: list[Welcome] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)
    upto: dict[str, int] = field(default_factory=dict)


class WireAgent:
    def __init__(self, broker: Broker, link: str, *, attached: tuple[str, ...] = (), seed: int = 1) -> None:
        self.link = LinkId(link)
        self.attached = attached
        self.session = secrets.token_hex(16)
        self.boot = f"{random.Random(seed).getrandbits(128):032x}"
        self.streams = {kind: secrets.token_hex(16) for kind in StreamKind}
        self.next_seq = dict.fromkeys(StreamKind, 1)
        self.heard = Heard()
        self.on_command: Callable[[bytes], None] = lambda _payload: None
        self._subscribed = threading.Event()
        self._started = time.monotonic()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=link, protocol=MQTTv5)
        self._client.tls_set_context(broker.link(link).context())
        self._client.on_socket_open = _without_nagle
        self._client.on_connect = lambda client, *_: client.subscribe(down_filter(self.link), 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._address = (broker.host, broker.port)

    def connect(self, *, has_will: bool = True) -> None:
        if has_will:
            will = codec.to_json(Presence(self.session, PresenceStatus.OFFLINE, "connection lost"))
            self._client.will_set(up(self.link, Up.PRESENCE), will, 1)
        self._client.connect(*self._address, keepalive=10)
        self._client.loop_start()
        assert self._subscribed.wait(DEADLINE_S), "the broker did not take the subscription"

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def vanish(self) -> None:
        """Drops the connection without a goodbye: the broker sends the will."""
        sock = self._client.socket()
        assert sock is not None
        self._client.loop_stop()
        sock.close()

    def publish(self, kind: Up, payload: bytes, content_type: str | None = codec.JSON) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's properties are untyped
        if content_type is not None:
            properties.ContentType = content_type
        self._client.publish(up(self.link, kind), payload, 1, properties=properties)

    def hello(self, *, nonce: str | None = None, positions: tuple[StreamPosition, ...] = (), **changes: Any) -> str:
        nonce = nonce or secrets.token_hex(16)
        hello = Hello(
            nonce=nonce,
            session=self.session,
            boot=self.boot,
            agent_version="wire 1",
            versions=[1],
            capability_digest="0" * 64,
            devices=[AttachedDevice(id_, f"line{place}", alive=True) for place, id_ in enumerate(self.attached)],
            unregistered=[],
            streams=list(positions) or [self.position(kind) for kind in StreamKind],
            profile=Profile.DEMO,
            keepalive_s=10.0,
            report_s=5.0,
            wall_ms=self.wall_ms(),
            trusted_ms=self.wall_ms(),
            mono_ms=self.mono_ms(),
        )
        self.publish(Up.HELLO, codec.to_json(msgspec.structs.replace(hello, **changes)))
        return nonce

    def greet(self) -> Welcome:
        """Says hello until it is welcomed, as an agent does."""
        nonce = self.hello()
        asked_at = time.monotonic()

        def is_welcome() -> bool:
            nonlocal asked_at
            if time.monotonic() - asked_at > 2.0:
                asked_at = time.monotonic()
                self.hello(nonce=nonce)
            return any(one.nonce == nonce for one in self.heard.welcomes)

        until(is_welcome, "a welcome")
        return next(one for one in self.heard.welcomes if one.nonce == nonce)

    def goodbye(self, reason: str = "stopped") -> None:
        self.publish(Up.PRESENCE, codec.to_json(Presence(self.session, PresenceStatus.OFFLINE, reason)))

    def position(self, kind: StreamKind) -> StreamPosition:
        last = self.next_seq[kind] - 1
        return StreamPosition(self.streams[kind], kind, last, min(1, last), 0)

    def record(self, body: RecordBody, device: str | None = None) -> Record:
        return Record(device or self.link, self.boot, self.mono_ms(), self.wall_ms(), body)

    def send(self, *bodies: RecordBody, kind: StreamKind = StreamKind.URGENT, device: str | None = None) -> int:
        """One batch with the next numbers; the last of them."""
        first = self.next_seq[kind]
        self.next_seq[kind] += len(bodies)
        self.send_at(first, [codec.to_json(self.record(body, device)) for body in bodies], kind)
        return self.next_seq[kind] - 1

    def send_at(self, first: int, records: list[bytes], kind: StreamKind = StreamKind.URGENT) -> None:
        batch = Batch(self.streams[kind], first, [msgspec.Raw(one) for one in records])
        encoded = codec.encode(batch, deflate=True)
        self.publish(Up(kind), encoded.payload, encoded.content_type)

    def acked(self, kind: StreamKind = StreamKind.URGENT) -> int:
        return self.heard.upto.get(self.streams[kind], 0)

    def await_ack(self, seq: int, kind: StreamKind = StreamKind.URGENT) -> None:
        until(lambda: self.acked(kind) >= seq, f"an acknowledgement of {kind} {seq}, came {self.acked(kind)}")

    def mono_ms(self) -> int:
        return int((time.monotonic() - self._started) * 1000) + 1_000_000

    @staticmethod
    def wall_ms() -> int:
        return int(time.time() * 1000)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        kind, payload = parse_down(message.topic), bytes(message.payload)
        if kind is Down.COMMAND:
            self.heard.commands.append(payload)
            self.on_command(payload)
            return
        content_type = getattr(message.properties, "ContentType", None)
        envelope = codec.decode(payload, content_type, Envelope)
        assert not isinstance(envelope, Malformed), envelope
        plain = base64.b64decode(envelope.payload)
        if kind is Down.WELCOME:
            welcome = msgspec.json.decode(plain, type=Welcome)
            self._note(welcome.ack)
            self.heard.welcomes.append(welcome)
        elif kind is Down.ACK:
            ack = msgspec.json.decode(plain, type=Ack)
            self._note(ack)
            self.heard.acks.append(ack)
        elif kind is Down.FLOW:
            self.heard.flows.append(msgspec.json.decode(plain, type=Flow))

    def _note(self, ack: Ack) -> None:
        for one in ack.streams:
            self.heard.upto[one.stream] = max(one.upto, self.heard.upto.get(one.stream, 0))


def _without_nagle(_client: Client, _data: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
