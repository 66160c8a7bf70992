"""The fleet's end of the wire without a broker: welcomes, acknowledges what it has recorded, signs commands.

It speaks protocol version 1 as the server does (`protocol`), with keys of its own that live as long as it does; the
agent's policy names them. Invariant: an ack covers only what is in the reports or was counted as malformed. It answers
in a thread of its own, as a broker would: the agent's runner must never wait for its own queue.
"""

from __future__ import annotations

import itertools
import queue
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from device_agent.core.effects import Arrived, Connect, LinkDown, LinkUp, Publish
from protocol import codec
from protocol.authorisations import Authorisation, AuthorisationKind, Grant, sha256_of
from protocol.capabilities import Action, Capabilities
from protocol.commands import AUTHORISATION_TYPE, COMMAND_TYPE, Command, DangerClass
from protocol.errors import Malformed
from protocol.parameters import ParamValue
from protocol.records import Record
from protocol.session import Flow, Hello, Profile, Welcome
from protocol.signing import ACK_TYPE, POLICY_TYPE, WELCOME_TYPE, Approver, Policy, SigningKey, sign
from protocol.streams import Ack, Batch, Received
from protocol.topics import Down, Up
from simulators.testing.reports import Reports

# Readings reach a test as soon as the agent may send them.
FLOW: Final = Flow(
    profile=Profile.DEMO,
    keepalive_s=10,
    sample_s=0.5,
    report_s=0.5,
    drain_records_per_s=1000,
    reconnect_base_s=0.2,
    reconnect_cap_s=2,
)
TENANT: Final = "default"
REQUESTER: Final = "support"
_COMMAND_MS: Final = 10 * 60 * 1000
_CLOSE_S: Final = 5.0


def _new_key() -> SigningKey:
    return SigningKey.from_seed(secrets.token_bytes(32))


@dataclass(frozen=True, slots=True)
class Keys:
    root: SigningKey = field(default_factory=_new_key)
    command: SigningKey = field(default_factory=_new_key)
    server: SigningKey = field(default_factory=_new_key)
    approver: SigningKey = field(default_factory=_new_key)

    def policy(self) -> Policy:
        approvers = [Approver("recorder", self.approver.public_hex)]
        return Policy(1, now_ms(), [self.command.public_hex], [self.server.public_hex], approvers)

    def signed_policy(self) -> bytes:
        return codec.to_json(sign(POLICY_TYPE, codec.to_json(self.policy()), [self.root]))


class RecordingLink:
    """A `device_agent.runner.Link`. ``malformed`` counts what could not be understood: there should be none."""

    def __init__(self, keys: Keys, reports: Reports, post: Callable[[LinkUp | LinkDown | Arrived], None]) -> None:
        self.malformed = 0
        self.greeted = threading.Event()
        self._keys = keys
        self._reports = reports
        self._post = post
        # Bounded by the agent itself: it waits for acks with a few batches on their way, and says little else.
        self._said: queue.SimpleQueue[Connect | Publish | None] = queue.SimpleQueue()
        self._nonce = ""
        self._actions: dict[tuple[str, str], Action] = {}
        self._received: dict[str, Received] = {}
        self._epoch = secrets.token_hex(16)
        self._counter = itertools.count(1)
        self._thread = threading.Thread(target=self._answer_all, name="recording-link", daemon=True)
        self._thread.start()

    def connect(self, order: Connect) -> None:
        self._said.put(order)

    def publish(self, message: Publish) -> None:
        self._said.put(message)

    def abort(self, reason: str) -> None:
        self._post(LinkDown(reason, is_silent=True))

    def close(self, goodbye: Publish | None) -> None:
        if goodbye is not None:
            self._said.put(goodbye)
        self._said.put(None)
        self._thread.join(_CLOSE_S)

    def action(self, device: str, name: str) -> Action | None:
        """As the agent declared it."""
        return self._actions.get((device, name))

    def actions(self, device: str) -> list[str]:
        return sorted(name for of, name in self._actions if of == device)

    def command(self, device: str, action: Action, params: dict[str, ParamValue], *, skip_if_passing: bool) -> str:
        """Orders it with everything a command needs, and answers the id of the execution."""
        issued_ms = now_ms()
        command = Command(
            version=1,
            audience=device,
            tenant=TENANT,
            execution=str(uuid.uuid4()),
            action=action.name,
            danger_class=action.danger_class,
            params=params,
            issued_at_ms=issued_ms,
            not_after_ms=issued_ms + _COMMAND_MS,
            counter=next(self._counter),
            skip_if_passing=skip_if_passing,
        )
        if action.danger_class > DangerClass.READS:
            command = self._authorised(command)
        envelope = sign(COMMAND_TYPE, codec.to_json(command), [self._keys.command])
        self._post(Arrived(Down.COMMAND, codec.to_json(envelope), None))
        return command.execution

    def _authorised(self, command: Command) -> Command:
        authorisation = Authorisation(
            id=str(uuid.uuid4()),
            tenant=TENANT,
            kind=AuthorisationKind.APPROVAL,
            requester=REQUESTER,
            grants=[Grant(command.action)],
            danger_class=command.danger_class,
            targets=[command.audience],
            not_before_ms=command.issued_at_ms - _COMMAND_MS,
            not_after_ms=command.not_after_ms,
            max_count=1,
            execution=command.execution,
        )
        envelope = sign(AUTHORISATION_TYPE, codec.to_json(authorisation), [self._keys.approver])
        text = codec.to_json(envelope).decode()
        return msgspec.structs.replace(
            command, nonce=self._nonce, requester=REQUESTER, authorisation=text, authorisation_sha256=sha256_of(text)
        )

    def _answer_all(self) -> None:
        while (said := self._said.get()) is not None:
            match said:
                case Connect():
                    self._post(LinkUp())
                case Publish():
                    self._answer(said)

    def _answer(self, said: Publish) -> None:
        match said.kind:
            case Up.HELLO:
                self._greet(codec.decode(said.payload, said.content_type, Hello))
            case Up.CAPABILITIES:
                self._declared(codec.decode(said.payload, said.content_type, Capabilities))
            case Up.URGENT | Up.BULK:
                self._keep(codec.decode(said.payload, said.content_type, Batch))
            case Up.PRESENCE | Up.LIVE:
                pass  # Nothing of it is kept.

    def _greet(self, hello: Hello | Malformed) -> None:
        if isinstance(hello, Malformed):
            self.malformed += 1
            return
        self._nonce = hello.nonce
        for stream in hello.streams:
            self._received.setdefault(stream.stream, Received.empty())
        welcome = Welcome(hello.nonce, want_capabilities=True, ack=self._ack(), flow=FLOW, versions=[1])
        self._send(Down.WELCOME, WELCOME_TYPE, welcome)

    def _declared(self, declared: Capabilities | Malformed) -> None:
        if isinstance(declared, Malformed):
            self.malformed += 1
            return
        self._actions = {(of.device, action.name): action for of in declared.devices for action in of.actions}
        self.greeted.set()

    def _keep(self, batch: Batch | Malformed) -> None:
        if isinstance(batch, Malformed):
            self.malformed += 1
            return
        received = self._received.setdefault(batch.stream, Received.empty())
        for seq, raw in enumerate(batch.records, batch.first_seq):
            record = codec.from_json(raw, Record)
            if isinstance(record, Malformed):
                self.malformed += 1
            elif not received.holds(seq):
                self._reports.take(record)
            received.add(seq, seq)
        self._send(Down.ACK, ACK_TYPE, self._ack())

    def _ack(self) -> Ack:
        streams = [one.ack(stream) for stream, one in self._received.items()]
        return Ack(streams[:4], self._epoch, now_ms())

    def _send(self, kind: Down, payload_type: str, message: Welcome | Ack) -> None:
        envelope = sign(payload_type, codec.to_json(message), [self._keys.server])
        self._post(Arrived(kind, codec.to_json(envelope), None))


def now_ms() -> int:
    return int(time.time() * 1000)
