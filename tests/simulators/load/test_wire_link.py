"""A simulated link against a server that is nothing but its answers, on time that is set by hand."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from device_agent.core.effects import Arrived, Connect, Effect, LinkDown, LinkUp, Publish
from device_agent.core.ports import Dice
from protocol import codec
from protocol.capabilities import Capabilities, digest
from protocol.commands import COMMAND_TYPE, Command, DangerClass
from protocol.executions import ExecutionState
from protocol.identifiers import LinkId
from protocol.records import ExecutionReport, Outcome, Record, Verdict
from protocol.session import Flow, Hello, Profile, Welcome
from protocol.signing import ACK_TYPE, WELCOME_TYPE, SigningKey, sign
from protocol.streams import Ack, Batch, StreamAck, StreamKind
from protocol.topics import Down, Up
from simulators.load.sayings import Sayings, Talker
from simulators.load.tally import Tally
from simulators.load.traffic import Traffic
from simulators.load.wire_link import LinkPlan, WireLink
from simulators.testing.recording_link import Keys
from tests.device_agent.core.rig import Clock, dice

LINK = LinkId("d-gateway00001")
ATTACHED = {f"l{number}": f"d-attached{number:04d}" for number in range(3)}
EPOCH = "e" * 32
FLOW = Flow(Profile.UNMETERED, 60.0, 10.0, 60.0, 500, 1.0, 300.0, reconnect_first_s=2.0)

ShapeT = TypeVar("ShapeT")


class Bench:
    def __init__(self, traffic: Traffic | None = None) -> None:
        self.clock = Clock(1000.0)
        self.keys = Keys()
        self.tally = Tally()
        traffic = traffic or Traffic(faults_per_device_hour=0)
        talkers = [Talker(device, number) for number, device in enumerate(ATTACHED.values())]
        plan = LinkPlan(LINK, ATTACHED, "traditional", traffic.metric_names, Profile.UNMETERED, traffic.report_s)
        rolls: Dice = dice()
        boot = rolls.hex128()
        sayings = Sayings(talkers, traffic, boot, 1)
        self.link = WireLink(plan, sayings, self.keys.policy(), rolls, boot, self.tally, self.clock.now)
        self.published: list[Publish] = []
        self.connects = 0

    def pass_s(self, seconds: float, step_s: float = 0.5) -> list[Publish]:
        """What was published meanwhile."""
        before = len(self.published)
        for _ in range(int(seconds / step_s)):
            self.clock.pass_s(step_s)
            self._turn()
        return self.published[before:]

    def greet(self, *, want_capabilities: bool = False) -> Hello:
        self.pass_s(10)
        hello = self.last(Up.HELLO, Hello)
        ack = Ack([StreamAck(one.stream, 0) for one in hello.streams], EPOCH, self._wall_ms())
        welcome = Welcome(hello.nonce, want_capabilities, ack, FLOW, [1])
        self.answer(Down.WELCOME, WELCOME_TYPE, welcome)
        return hello

    def answer(self, kind: Down, payload_type: str, message: object, key: SigningKey | None = None) -> None:
        encoded = codec.encode(sign(payload_type, codec.to_json(message), [key or self.keys.server]), deflate=True)
        self.link.handle(Arrived(kind, encoded.payload, encoded.content_type), self.clock.now)
        self._turn()

    def acknowledge(self, kind: StreamKind, upto: int) -> None:
        stream = self.link.store.positions()[kind].stream
        self.answer(Down.ACK, ACK_TYPE, Ack([StreamAck(stream, upto)], EPOCH, self._wall_ms()))

    def last(self, kind: Up, shape: type[ShapeT]) -> ShapeT:
        found = next(one for one in reversed(self.published) if one.kind is kind)
        value = codec.decode(found.payload, found.content_type, shape)
        assert isinstance(value, shape)
        return value

    def _wall_ms(self) -> int:
        return self.clock.now.wall_ms

    def _turn(self) -> None:
        self.link.tick(self.clock.now)
        effects: list[Effect] = self.link.settle(self.clock.now)
        for effect in effects:
            if isinstance(effect, Publish):
                self.published.append(effect)
            elif isinstance(effect, Connect):
                self.connects += 1
                self.link.handle(LinkUp(), self.clock.now)
                self._turn()


def test_waiting_counts_from_when_a_report_was_due_however_late_the_link_is_touched() -> None:
    bench = Bench()
    bench.greet()
    bench.link.begin(bench.clock.now)
    late_s = (bench.link._sayings.next_due_ns() or 0) / 1e9 - bench.clock.seconds + 5
    bench.pass_s(late_s, step_s=late_s)
    bench.acknowledge(StreamKind.BULK, bench.tally.counts["made"])
    assert bench.tally.acks.count == bench.tally.counts["made"] > 0
    assert 4.9 < bench.tally.acks.longest_s < 5.6


def records(batch: Batch) -> list[Record]:
    return [msgspec.json.decode(one, type=Record) for one in batch.records]


def test_a_welcomed_link_sends_what_it_has_and_holds_it_until_it_is_acknowledged() -> None:
    bench = Bench()
    bench.greet()
    bench.link.begin(bench.clock.now)
    bench.pass_s(61)
    batch = bench.last(Up.BULK, Batch)
    assert [record.device for record in records(batch)] == list(ATTACHED.values())
    assert (bench.link.open_records, bench.tally.counts["acked"]) == (bench.tally.counts["made"], 0)
    bench.acknowledge(StreamKind.BULK, bench.tally.counts["made"])
    assert (bench.link.open_records, bench.tally.counts["acked"]) == (0, bench.tally.counts["made"])
    assert bench.tally.acks.count == bench.tally.counts["made"]


def test_what_is_not_acknowledged_goes_again_as_it_was() -> None:
    bench = Bench()
    bench.greet()
    bench.link.begin(bench.clock.now)
    bench.pass_s(61)
    bench.link.finish()
    bench.pass_s(60)
    sent = [codec.decode(one.payload, one.content_type, Batch) for one in bench.published if one.kind is Up.BULK]
    assert (
        len({msgspec.json.encode(one) for one in sent}) == bench.tally.counts["batches"] - bench.tally.counts["resent"]
    )
    assert bench.tally.counts["resent"] >= 1


def test_an_acknowledgement_that_another_key_signed_is_none() -> None:
    bench = Bench()
    bench.greet()
    bench.link.begin(bench.clock.now)
    bench.pass_s(61)
    stream = bench.link.store.positions()[StreamKind.BULK].stream
    forged = Ack([StreamAck(stream, 3)], EPOCH, bench.clock.now.wall_ms)
    bench.answer(Down.ACK, ACK_TYPE, forged, SigningKey.from_seed(bytes(32)))
    assert bench.tally.counts["acked"] == 0


def test_a_link_that_is_asked_for_it_declares_each_device_and_the_digest_is_of_that() -> None:
    bench = Bench()
    hello = bench.greet(want_capabilities=True)
    declared = bench.last(Up.CAPABILITIES, Capabilities)
    assert [one.device for one in declared.devices] == [LINK, *ATTACHED.values()]
    assert digest(declared) == hello.capability_digest


def test_a_command_is_answered_as_carried_out() -> None:
    bench = Bench()
    bench.greet()
    execution = "01890000-0000-7000-8000-000000000001"
    command = Command(1, ATTACHED["l1"], "default", execution, "agent.echo", DangerClass.READS, {}, 1, 2, 1)
    bench.answer(Down.COMMAND, COMMAND_TYPE, command, bench.keys.command)
    bodies = [record.body for record in records(bench.last(Up.URGENT, Batch))]
    assert bodies == [
        ExecutionReport(execution, ExecutionState.STORED),
        Verdict("agent.echo", Outcome.PASS, execution=execution),
        ExecutionReport(execution, ExecutionState.SUCCEEDED, outcome=Outcome.PASS),
    ]


def test_a_payload_that_is_no_command_is_counted() -> None:
    bench = Bench()
    bench.greet()
    bench.link.handle(Arrived(Down.COMMAND, b"{", None), bench.clock.now)
    assert bench.tally.counts["commands_unread"] == 1


def test_a_lost_link_comes_back_and_sends_the_open_rest_again() -> None:
    bench = Bench()
    bench.greet()
    bench.link.begin(bench.clock.now)
    bench.pass_s(61)
    bench.link.finish()
    sent = bench.last(Up.BULK, Batch)
    bench.link.handle(LinkDown("gone"), bench.clock.now)
    assert not bench.link.is_established
    assert [one for one in bench.pass_s(3) if one.kind is Up.BULK] == []
    assert bench.connects == 2
    hello = bench.greet()
    assert hello.streams[1].last == bench.tally.counts["made"]
    assert bench.last(Up.BULK, Batch) == sent
