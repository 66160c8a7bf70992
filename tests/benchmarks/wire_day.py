"""Bytes on the wire of an idle healthy terminal on the metered profile in a day, all headers counted.

The agent's core runs a day in virtual time with the readings of a healthy simulated e-sign terminal; each message it
publishes and each answer of the server is counted as it would go over the wire:

    MQTT 5 publish   fixed header 2 to 4, topic 2 + n, packet id 2 (QoS 1), properties 1 + content type 3 + n, payload
    MQTT 5 puback    4          pingreq, pingresp  2
    TLS 1.3 record   22         5 header, 1 type, 16 tag
    TCP and IPv4     52         20 + 20 and 12 of time stamps; one segment of pure acknowledgement per message

The connection is made once (mutual TLS 1.3 with P-256 certificates: 3,600 bytes both ways, captured on loopback).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from device_agent.bootstrap import PACES
from device_agent.core.agent import AgentCore
from device_agent.core.effects import Arrived, Connect, LinkUp, Polled, Publish
from device_agent.core.identity import Identity
from device_agent.core.trust import Trust
from device_agent.core.trusted_time import Floor, TrustedClock
from device_agent.core.watch import DeviceSpec
from protocol import codec
from protocol.catalogue.vocabulary import TerminalClass
from protocol.identifiers import DeviceId, LinkId
from protocol.session import Flow, Hello, Profile, Welcome
from protocol.signing import ACK_TYPE, WELCOME_TYPE, sign
from protocol.streams import Ack, Batch, Received, StreamAck
from protocol.topics import Down, Up, down, up
from simulators.terminal import SimulatedTerminal
from tests.benchmarks.figures import Figure
from tests.device_agent.core.rig import Clock, MemoryStore, dice
from tests.device_agent.core.test_command_gate import OTHER_KEY, POLICY

DAY_S = 86_400
LINK = LinkId("d-0123456789abcdef")
SEGMENT = 52
TLS = 22
HANDSHAKE = 3600


def flow_of(profile: Profile) -> Flow:
    keepalive_s, sample_s, report_s = PACES[profile]
    return Flow(profile, keepalive_s, sample_s, report_s, 100, 300, 900)


@dataclass
class Day:
    flow: Flow = field(default_factory=lambda: flow_of(Profile.METERED))
    clock: Clock = field(default_factory=lambda: Clock(1000.0))
    sent: int = 0
    received_bytes: int = 0
    messages: int = 0
    streams: dict[str, Received] = field(default_factory=dict)

    def __post_init__(self) -> None:
        trusted = TrustedClock.starting(self.clock.now, persisted=Floor(), newest_record_ms=0)
        spec = DeviceSpec(DeviceId(LINK), "terminal", "e_sign", {})
        identity = Identity(LINK, "default", "0" * 32, "0.1.0")
        self.core = AgentCore(
            identity, [spec], Trust.fixed(POLICY, "default"), self.flow, MemoryStore(), dice(), trusted, self.clock.now
        )
        self.terminal = SimulatedTerminal(
            TerminalClass.E_SIGN,
            trade_every_s=0,
            monotonic=lambda: self.clock.seconds,
            wall=lambda: 1_800_000_000 + self.clock.seconds,
        )

    def run(self) -> None:
        for second in range(0, DAY_S, 10):
            if second % 60 == 0:
                readings = dict(self.terminal.readings())
                self.core.handle(Polled(DeviceId(LINK), True, readings, frozenset()), self.clock.now)
            self._settle()
            self.clock.pass_s(10)

    @property
    def pings_bytes(self) -> int:
        return int(DAY_S // self.flow.keepalive_s) * 2 * (2 + TLS + SEGMENT + SEGMENT // 2)

    @property
    def total_bytes(self) -> int:
        return self.sent + self.received_bytes + self.pings_bytes + HANDSHAKE

    def _settle(self) -> None:
        self.core.tick(self.clock.now)
        for effect in self.core.settle(self.clock.now):
            if isinstance(effect, Connect):
                self.core.handle(LinkUp(), self.clock.now)
                self._settle()
            elif isinstance(effect, Publish):
                self.sent += publish_bytes(up(LINK, effect.kind), effect.payload, effect.content_type, effect.qos)
                self.messages += 1
                self._answer(effect)

    def _answer(self, published: Publish) -> None:
        now_ms = 1_800_000_000_000 + int(self.clock.seconds * 1000)
        if published.kind is Up.HELLO:
            hello = codec.decode(published.payload, published.content_type, Hello)
            assert isinstance(hello, Hello)
            acks = Ack([StreamAck(one.stream, 0) for one in hello.streams], "e" * 32, now_ms)
            self._down(Down.WELCOME, WELCOME_TYPE, Welcome(hello.nonce, False, acks, self.flow, [1]), 1)
        elif published.kind in {Up.URGENT, Up.BULK}:
            batch = codec.decode(published.payload, published.content_type, Batch)
            assert isinstance(batch, Batch)
            stream = self.streams.setdefault(batch.stream, Received.empty())
            stream.add(batch.first_seq, batch.first_seq + len(batch.records) - 1)
            ack = Ack([StreamAck(batch.stream, stream.upto)], "e" * 32, now_ms)
            self._down(Down.ACK, ACK_TYPE, ack, 0 if published.kind is Up.BULK else 1)

    def _down(self, kind: Down, payload_type: str, message: object, qos: int) -> None:
        encoded = codec.encode(sign(payload_type, codec.to_json(message), [OTHER_KEY]), deflate=True)
        self.received_bytes += publish_bytes(down(LINK, kind), encoded.payload, encoded.content_type, qos)
        self.core.handle(Arrived(kind, encoded.payload, encoded.content_type), self.clock.now)


def publish_bytes(topic: str, payload: bytes, content_type: str | None, qos: int) -> int:
    properties = 1 + (3 + len(content_type) if content_type else 0)
    body = 2 + len(topic) + (2 if qos else 0) + properties + len(payload)
    packet = body + (2 if body < 128 else 3 if body < 16_384 else 4)
    segments = 1 + (packet + TLS) // 1400
    acknowledged = (4 + TLS + SEGMENT) if qos else 0
    return packet + TLS + segments * SEGMENT + SEGMENT + acknowledged


def measure() -> list[Figure]:
    day = Day()
    day.run()
    return [
        Figure("idle healthy terminal, metered profile, a day", day.total_bytes / 1000, "kB", "at most 100 kB"),
        Figure("of it sent by the terminal", day.sent / 1000, "kB"),
        Figure("of it the server's answers", day.received_bytes / 1000, "kB"),
        Figure("of it keeping the connection alive", day.pings_bytes / 1000, "kB"),
        Figure("messages of the terminal", day.messages, ""),
    ]
