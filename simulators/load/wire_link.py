"""One simulated link: a proper peer of the server on the wire, without hardware, disk or verification of commands.

Hello until it is welcomed, two numbered streams, at most four batches of each on their way, sent again until the
server's signed acknowledgement, reconnecting with the jitter that the server's flow asks for: all of it by the agent's
own `Session`, `Outbox` and `Connection`. Commands are answered as carried out, whatever they ask. It takes the same
events and gives the same effects as `device_agent.core.agent.AgentCore`, so that one `Swarm` drives both.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from device_agent.core.connection import Connection
from device_agent.core.declaration import declare
from device_agent.core.effects import Arrived, Effect, Event, LinkDown, LinkUp, Publish
from device_agent.core.instant import NS_PER_S, Instant, earliest
from device_agent.core.outbox import Outbox
from device_agent.core.ports import Dice
from device_agent.core.session import Session, State
from device_agent.core.trusted_time import Floor, TrustedClock
from protocol import codec
from protocol.capabilities import Action, Capabilities, DeviceCapabilities, digest
from protocol.commands import ActionKind, Command, DangerClass
from protocol.errors import Malformed
from protocol.executions import ExecutionState
from protocol.identifiers import LinkId, Nonce, SessionId
from protocol.parameters import Words
from protocol.records import ExecutionReport, Outcome, Record, RecordBody, Verdict
from protocol.session import AttachedDevice, Flow, Hello, PresenceStatus, Profile, Welcome
from protocol.signing import Envelope, Policy
from protocol.streams import Ack, StreamKind
from protocol.topics import Down, Up
from protocol.version import PROTOCOL_VERSION
from simulators.load.held_records import HeldRecords
from simulators.load.sayings import Sayings
from simulators.load.tally import Tally

AGENT_VERSION: Final = "load"
ECHO: Final = Action(
    name="agent.echo",
    kind=ActionKind.CHECK,
    title=Words("回声", "echo"),
    danger_class=DangerClass.READS,
    expected_s=0.1,
    timeout_s=10.0,
)


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """Who a link is. ``attached``: device ids by line; ``own_class`` as in the fleet file."""

    link: LinkId
    attached: Mapping[str, str]
    own_class: str
    metrics: tuple[str, ...]
    profile: Profile
    report_s: float

    def capabilities(self) -> Capabilities:
        names = [str(self.link), *self.attached.values()]
        return Capabilities(
            [
                DeviceCapabilities(name, "host", self.own_class, [ECHO], metrics=list(self.metrics), model="simulated")
                for name in names
            ]
        )


class WireLink:
    def __init__(
        self, plan: LinkPlan, sayings: Sayings, policy: Policy, dice: Dice, boot: str, tally: Tally, now: Instant
    ) -> None:
        self.link = plan.link
        self._plan = plan
        self._sayings = sayings
        self._boot = boot
        self._tally = tally
        self.store = HeldRecords(dice.hex128(), dice.hex128())
        self._digest = digest(plan.capabilities())
        self._keepalive_s = 60
        self.session = Session(dice, self._hello, self._keepalive_s, policy)
        self.connection = Connection(self.session, dice, now)
        self.outbox = Outbox(self.store, dice)
        self._clock = TrustedClock.starting(now, persisted=Floor(), newest_record_ms=0)
        self._effects: list[Effect] = []
        # Last number and moment of what was said together, until it is acknowledged; bounded as the store is.
        self._waiting: dict[StreamKind, deque[tuple[int, int, int]]] = {kind: deque() for kind in StreamKind}

    @property
    def is_established(self) -> bool:
        return self.session.state is State.ESTABLISHED

    @property
    def open_records(self) -> int:
        return sum(self.store.backlog(kind) for kind in StreamKind)

    def handle(self, event: Event, now: Instant) -> None:
        match event:
            case Arrived():
                self._arrived(event, now)
            case LinkUp():
                self._effects += self.session.on_connected(now)
            case LinkDown():
                self.connection.on_lost(event, now)
                self.outbox.on_lost()
            case _:
                pass  # Of devices, of which there are none.

    def tick(self, now: Instant) -> None:
        self._effects += self.connection.on_tick(now)
        self._effects += self.session.on_tick(now)
        counts = self._tally.counts
        # A link that is touched too late would else seem to be answered sooner than it is.
        due_ns = min(self._sayings.next_due_ns() or now.monotonic_ns, now.monotonic_ns)
        self._say(StreamKind.URGENT, self._sayings.faults(now, counts), due_ns)
        held = self.store.backlog(StreamKind.BULK)
        self._say(StreamKind.BULK, self._sayings.report(now, held, counts), due_ns)

    def settle(self, now: Instant) -> list[Effect]:
        effects, self._effects = self._effects, []
        resent = self.outbox.resent
        for outgoing in self.outbox.pump(now):
            self._tally.counts["batches"] += 1
            self._tally.counts["batch_bytes"] += len(outgoing.encoded.payload)
            effects.append(Publish(Up(outgoing.kind.value), outgoing.encoded.payload, outgoing.encoded.content_type))
        self._tally.counts["resent"] += self.outbox.resent - resent
        return effects

    def next_due_ns(self) -> int | None:
        return earliest(
            self.connection.next_due_ns(),
            self.session.next_due_ns(),
            self.outbox.next_due_ns(),
            self._sayings.next_due_ns(),
        )

    def goodbye(self) -> Publish | None:
        if self.session.state not in {State.GREETING, State.ESTABLISHED}:
            return None
        return self.session.presence(PresenceStatus.OFFLINE, "stopped")

    def begin(self, now: Instant) -> None:
        """From now on it has something to say."""
        self._sayings.begin(now)

    def hurry(self, now: Instant) -> None:
        """Reports now what it would have reported later."""
        self._sayings.hurry(now)

    def finish(self) -> None:
        """Says nothing new; what is held goes on being sent."""
        self._sayings.silence()

    def said(self) -> range:
        """The moments of all samples that each of its devices has said, in milliseconds; those passed over too."""
        return self._sayings.said

    def _say(self, kind: StreamKind, rows: Sequence[bytes], since_ns: int) -> None:
        if not rows:
            return
        last = self.store.add(kind, rows)
        self._waiting[kind].append((last, len(rows), since_ns))
        self._tally.counts["made"] += len(rows)

    def _arrived(self, event: Arrived, now: Instant) -> None:
        match event.kind:
            case Down.ACK:
                ack = self.session.on_ack(event.payload, event.content_type)
                if ack is not None:
                    self._tally.counts["acks"] += 1
                    self._acknowledged(ack, now)
            case Down.WELCOME:
                was_established = self.is_established
                welcome = self.session.on_welcome(event.payload, event.content_type, now)
                if welcome is not None:
                    self._welcomed(welcome, now, is_first=not was_established)
            case Down.FLOW:
                flow = self.session.on_flow(event.payload, event.content_type)
                if flow is not None:
                    self._paced(flow)
            case Down.COMMAND:
                self._commanded(event, now)

    def _welcomed(self, welcome: Welcome, now: Instant, *, is_first: bool) -> None:
        self._tally.counts["welcomes"] += 1
        if is_first:
            self.connection.on_established(now)
            self.outbox.on_established()
        self._acknowledged(welcome.ack, now)
        self._paced(welcome.flow)
        if welcome.want_capabilities:
            self._tally.counts["declared"] += 1
            # Made for the moment: of a gateway with 200 devices it is as large as all the rest of the link.
            self._effects.append(declare(self._plan.capabilities()))

    def _paced(self, flow: Flow) -> None:
        """The server's pace of sending and reconnecting; how often this link reports is the traffic's affair."""
        self.connection.set_pace(flow)
        self.outbox.set_rate(flow.drain_records_per_s)
        self._keepalive_s = max(int(flow.keepalive_s), 5)
        self.session.asked_keepalive_s = self._keepalive_s

    def _acknowledged(self, ack: Ack, now: Instant) -> None:
        self._clock.on_signed_time(ack.server_time_ms, now)
        if self.session.is_welcomed_late:
            # The quickest answer so far tells it best.
            self.outbox.offset_ms = self._clock.offset_ms
        result = self.outbox.on_ack(ack, now)
        for kind, upto in result.moved.items():
            self.store.acknowledge(kind, upto)
            waiting = self._waiting[kind]
            while waiting and waiting[0][0] <= upto:
                _, number, said_ns = waiting.popleft()
                seconds = (now.monotonic_ns - said_ns) / NS_PER_S
                self._tally.acknowledged(seconds, number, is_urgent=kind is StreamKind.URGENT)
        self._tally.counts["renumbered"] += len(result.conflicts)

    def _commanded(self, event: Arrived, now: Instant) -> None:
        """Answers that it was done: what it was is of no interest here, nor who signed it."""
        command = _command(event)
        if command is None:
            self._tally.counts["commands_unread"] += 1
            return
        self._tally.counts["commands"] += 1
        answers: list[RecordBody] = [
            ExecutionReport(command.execution, ExecutionState.STORED),
            Verdict(command.action, Outcome.PASS, execution=command.execution),
            ExecutionReport(command.execution, ExecutionState.SUCCEEDED, outcome=Outcome.PASS),
        ]
        rows = [
            codec.to_json(Record(command.audience, self._boot, now.mono_ms, now.wall_ms, answer)) for answer in answers
        ]
        self._say(StreamKind.URGENT, rows, now.monotonic_ns)

    def _hello(self, nonce: Nonce, session: SessionId, now: Instant) -> Hello:
        self._tally.counts["hellos"] += 1
        return Hello(
            nonce=nonce,
            session=session,
            boot=self._boot,
            agent_version=AGENT_VERSION,
            versions=[PROTOCOL_VERSION],
            capability_digest=self._digest,
            devices=[AttachedDevice(device, line, alive=True) for line, device in self._plan.attached.items()],
            unregistered=[],
            streams=list(self.store.positions().values()),
            profile=self._plan.profile,
            keepalive_s=self._keepalive_s,
            report_s=self._plan.report_s,
            wall_ms=now.wall_ms,
            trusted_ms=now.wall_ms,
            mono_ms=now.mono_ms,
        )


def _command(event: Arrived) -> Command | None:
    envelope = codec.decode(event.payload, event.content_type, Envelope)
    if isinstance(envelope, Malformed):
        return None
    try:
        plain = base64.b64decode(envelope.payload, validate=True)
    except binascii.Error:
        return None
    command = codec.from_json(plain, Command)
    return None if isinstance(command, Malformed) else command
