"""The other end of the wire for the agent's integration tests: a service on a real broker that welcomes, acknowledges
what it has kept in memory, and signs commands. Not the fleet server: only its words, made with `protocol`.
"""

from __future__ import annotations

import itertools
import queue
import secrets
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from protocol import codec
from protocol.authorisations import Authorisation, AuthorisationKind, Grant, sha256_of
from protocol.capabilities import Capabilities
from protocol.commands import (
    AUTHORISATION_TYPE,
    COMMAND_TYPE,
    Command,
    DangerClass,
)
from protocol.identifiers import LinkId
from protocol.records import ExecutionReport, Record, RecordBody, Verdict
from protocol.session import Flow, Hello, Presence, Profile, Welcome
from protocol.signing import ACK_TYPE, POLICY_TYPE, WELCOME_TYPE, Approver, Policy, SigningKey, sign
from protocol.streams import Ack, Batch, Received
from protocol.topics import Down, Up, down, parse_up
from tests.support.broker import Broker, ClientFiles

WAIT_S = 25.0


@dataclass(slots=True)
class Keys:
    root: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"r" * 32))
    command: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"c" * 32))
    server: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"s" * 32))
    approver: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"a" * 32))

    def policy(self, version: int = 1) -> bytes:
        policy = Policy(
            version=version,
            issued_at_ms=now_ms(),
            command_keys=[self.command.public_hex],
            server_keys=[self.server.public_hex],
            approvers=[Approver("an approver", self.approver.public_hex)],
        )
        return codec.to_json(sign(POLICY_TYPE, codec.to_json(policy), [self.root]))


def now_ms() -> int:
    return int(time.time() * 1000)


DEMO_FLOW = Flow(
    profile=Profile.DEMO,
    keepalive_s=10,
    sample_s=1,
    report_s=2,
    drain_records_per_s=1000,
    reconnect_base_s=0.2,
    reconnect_cap_s=2,
)


class FleetSide:
    """``acknowledges`` off: records are seen but not kept."""

    def __init__(self, broker: Broker, link: str, keys: Keys, service: str) -> None:
        self.link = LinkId(link)
        self.keys = keys
        self.acknowledges = True
        self.welcomes = True
        self.flow = DEMO_FLOW
        self.db_epoch = secrets.token_hex(16)
        self.hellos: list[Hello] = []
        self.presences: list[Presence] = []
        self.capabilities: list[Capabilities] = []
        self.records: dict[tuple[str, int], Record] = {}
        self.live: list[bytes] = []
        self._received: dict[str, Received] = {}
        self._counter = itertools.count(now_ms())
        self._news: queue.Queue[None] = queue.Queue()
        self._client = _client(service, broker.service(service), self._arrived)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self.until(self._client.is_connected, "the service connects")

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """The first true answer of ``condition``; looked at when something arrives, and each 50 ms."""
        give_up_at = time.monotonic() + WAIT_S
        while not (answer := condition()):
            assert time.monotonic() < give_up_at, f"waited {WAIT_S:g} s in vain: {what}"
            try:
                self._news.get(timeout=0.05)
            except queue.Empty:
                continue
        return answer

    def bodies(self, kind: type[Any]) -> list[Any]:
        return [record.body for record in list(self.records.values()) if isinstance(record.body, kind)]

    def reports(self, execution: str) -> list[ExecutionReport]:
        return [one for one in self.bodies(ExecutionReport) if one.execution == execution]

    def states(self, execution: str) -> list[str]:
        return [report.state.value for report in self.reports(execution)]

    def verdicts(self, execution: str) -> list[Verdict]:
        return [one for one in self.bodies(Verdict) if one.execution == execution]

    def send(self, command: Command, key: SigningKey | None = None) -> None:
        envelope = sign(COMMAND_TYPE, codec.to_json(command), [key or self.keys.command])
        self.publish(Down.COMMAND, codec.to_json(envelope))

    def publish(self, kind: Down, payload: bytes, qos: int = 1) -> None:
        self._client.publish(down(self.link, kind), payload, qos=qos)

    def check(self, action: str, device: str | None = None, **params: Any) -> Command:
        return Command(
            version=1,
            audience=device or self.link,
            tenant="default",
            execution=str(uuid.uuid4()),
            action=action,
            danger_class=DangerClass.READS,
            params=params,
            issued_at_ms=now_ms(),
            not_after_ms=now_ms() + 60_000,
            counter=next(self._counter),
        )

    def fix(self, action: str, device: str | None = None, **params: Any) -> Command:
        command = self.check(action, device, **params)
        authorisation = Authorisation(
            id=str(uuid.uuid4()),
            tenant="default",
            kind=AuthorisationKind.APPROVAL,
            requester="support",
            grants=[Grant(action)],
            danger_class=DangerClass.CHANGES,
            targets=[command.audience],
            not_before_ms=now_ms() - 60_000,
            not_after_ms=now_ms() + 600_000,
            max_count=1,
            execution=command.execution,
        )
        envelope = sign(AUTHORISATION_TYPE, codec.to_json(authorisation), [self.keys.approver])
        text = codec.to_json(envelope).decode()
        return msgspec.structs.replace(
            command,
            danger_class=DangerClass.CHANGES,
            nonce=self.hellos[-1].nonce,
            requester="support",
            authorisation=text,
            authorisation_sha256=sha256_of(text),
        )

    def _arrived(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        topic = parse_up(message.topic)
        assert topic is not None
        content_type = getattr(message.properties, "ContentType", None)
        payload = bytes(message.payload)
        match topic.kind:
            case Up.HELLO:
                self._greet(_as(codec.decode(payload, content_type, Hello), Hello))
            case Up.PRESENCE:
                self.presences.append(_as(codec.decode(payload, content_type, Presence), Presence))
            case Up.CAPABILITIES:
                self.capabilities.append(_as(codec.decode(payload, content_type, Capabilities), Capabilities))
            case Up.URGENT | Up.BULK:
                self._keep(_as(codec.decode(payload, content_type, Batch), Batch))
            case Up.LIVE:
                self.live.append(payload)
        self._news.put(None)

    def _greet(self, hello: Hello) -> None:
        self.hellos.append(hello)
        if self.welcomes:
            for stream in hello.streams:
                self._received.setdefault(stream.stream, Received.empty())
            welcome = Welcome(hello.nonce, not self.capabilities, self._ack(), self.flow, [1])
            self.publish(Down.WELCOME, self._signed(WELCOME_TYPE, welcome))

    def _keep(self, batch: Batch) -> None:
        if not self.acknowledges:
            return
        for seq, raw in enumerate(batch.records, batch.first_seq):
            record = codec.from_json(raw, Record)
            assert isinstance(record, Record), record
            self.records[batch.stream, seq] = record
            self._received.setdefault(batch.stream, Received.empty()).add(seq, seq)
        self.publish(Down.ACK, self._signed(ACK_TYPE, self._ack()))

    def _ack(self) -> Ack:
        streams = [one.ack(stream) for stream, one in self._received.items()]
        return Ack(streams[:4], self.db_epoch, now_ms())

    def _signed(self, payload_type: str, message: object) -> bytes:
        return codec.to_json(sign(payload_type, codec.to_json(message), [self.keys.server]))


def _as(value: Any, kind: type[Any]) -> Any:
    assert isinstance(value, kind), value
    return value


def _client(name: str, files: ClientFiles, on_message: Callable[..., None]) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
    client.tls_set_context(files.context())
    client.on_message = on_message
    client.on_connect = lambda client, *_rest: client.subscribe("fleet/v1/+/up/#", qos=1)
    client.on_socket_open = _without_delay
    return client


def _without_delay(_client: mqtt.Client, _data: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def write_config(folder: Path, link: str, broker: Broker, keys: Keys, more: str = "") -> Path:
    """A bundle as enrolment writes it, and the agent's file beside it."""
    files = broker.link(link)
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in ((files.ca, "ca.crt"), (files.certificate, "client.crt"), (files.key, "client.key")):
        (folder / name).write_bytes(source.read_bytes())
    (folder / "policy.json").write_bytes(keys.policy())
    enrolment = {
        "link": link,
        "tenant": "default",
        "broker": {"host": broker.host, "port": broker.port},
        "root_public": keys.root.public_hex,
        "attached": {},
        "terminal_class": "smart",
        "serial_number": "SN1",
        "model": "M",
    }
    (folder / "enrolment.json").write_bytes(codec.to_json(enrolment))
    path = folder / "agent.toml"
    path.write_text(f'enrolment = "."\nprofile = "demo"\n{more}\n', encoding="utf-8")
    return path


__all__ = ["DEMO_FLOW", "FleetSide", "Keys", "RecordBody", "now_ms", "write_config"]
