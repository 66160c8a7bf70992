from __future__ import annotations

from typing import Any

import msgspec

from device_agent.core.agent import CHECK_HOLD_S, AgentCore
from device_agent.core.data_budget import Limits
from device_agent.core.effects import (
    Arrived,
    Connect,
    Effect,
    Event,
    JobDone,
    JobProgress,
    JobStarted,
    LinkDown,
    LinkUp,
    Polled,
    Publish,
    RunJob,
)
from device_agent.core.identity import Identity
from device_agent.core.trust import Trust
from device_agent.core.trusted_time import Floor, TrustedClock
from device_agent.core.watch import DeviceSpec
from device_agent.drivers.measured import OF_THE_AGENT
from device_agent.drivers.results import FaultSign
from protocol import codec
from protocol.capabilities import Capabilities, digest
from protocol.commands import DangerClass
from protocol.identifiers import DeviceId, LinkId
from protocol.live import LiveReport
from protocol.records import (
    ExecutionReport,
    FaultCleared,
    FaultRaised,
    HealthColumns,
    Record,
    SecurityEvent,
    Verdict,
)
from protocol.session import Flow, Hello, Welcome
from protocol.signing import ACK_TYPE, FLOW_TYPE, WELCOME_TYPE, sign
from protocol.streams import Ack, Batch, Received, StreamAck, StreamKind
from protocol.topics import Down, Up
from tests.device_agent.core.invented import DEFINITIONS, DEVICE, DEVICES, PASS
from tests.device_agent.core.rig import FLOW, Clock, MemoryStore, dice
from tests.device_agent.core.test_command_gate import OTHER_KEY, POLICY, authorised, command, signed

LINK = LinkId("gw-00000001")
EPOCH = "e" * 32


class Rig:
    """The whole core with a store in memory and a server that is played by hand."""

    def __init__(
        self,
        store: MemoryStore | None = None,
        trust: Trust | None = None,
        highest_class: DangerClass = DangerClass.SOFTWARE,
        family: str = "zvt",
        limits: Limits | None = None,
    ) -> None:
        self.clock = Clock(1000.0)
        self.store = store or MemoryStore()
        specs = [
            DeviceSpec(DeviceId(LINK), "host", "kiosk", {}),
            *(DeviceSpec(device, family, "kiosk", DEFINITIONS, f"line{n}") for n, device in enumerate(DEVICES)),
        ]
        trusted = TrustedClock.starting(self.clock.now, persisted=Floor(), newest_record_ms=0)
        identity = Identity(LINK, "default", "0" * 32, "1.0", highest_class=highest_class, limits=limits or Limits())
        trust = trust or Trust.fixed(POLICY, "default")
        self.core = AgentCore(identity, specs, trust, FLOW, self.store, dice(), trusted, self.clock.now)
        self.effects: list[Effect] = []
        self.received: dict[str, Received] = {}
        self.epoch = EPOCH

    def tell(self, *events: Event) -> list[Effect]:
        for event in events:
            self.core.handle(event, self.clock.now)
        return self.settle()

    def settle(self) -> list[Effect]:
        self.core.tick(self.clock.now)
        effects = self.core.settle(self.clock.now)
        self.effects += effects
        return effects

    def pass_s(self, seconds: float) -> list[Effect]:
        self.clock.pass_s(seconds)
        return self.settle()

    def server_ms(self) -> int:
        return 1_800_000_000_000 + int(self.clock.seconds * 1000)

    def ack(self) -> Ack:
        return Ack([StreamAck(key, one.upto) for key, one in self.received.items()], self.epoch, self.server_ms())

    def down(self, kind: Down, payload_type: str, message: object) -> list[Effect]:
        return self.tell(Arrived(kind, codec.to_json(sign(payload_type, codec.to_json(message), [OTHER_KEY])), None))

    def established(self, flow: Flow = FLOW) -> None:
        self.pass_s(5)
        assert any(isinstance(effect, Connect) for effect in self.effects)
        self.tell(LinkUp())
        self.down(
            Down.WELCOME, WELCOME_TYPE, Welcome(self.published(Up.HELLO, Hello)[-1].nonce, True, self.ack(), flow, [1])
        )

    def published(self, kind: Up, shape: Any) -> list[Any]:
        sent = [one for one in self.effects if isinstance(one, Publish) and one.kind is kind]
        return [codec.decode(one.payload, one.content_type, shape) for one in sent]

    def bodies(self, shape: Any) -> list[Any]:
        kept = [codec.from_json(text, Record) for kind in StreamKind for text in self.store.records[kind].values()]
        return [record.body for record in kept if isinstance(record, Record) and isinstance(record.body, shape)]

    def jobs(self) -> list[RunJob]:
        return [effect for effect in self.effects if isinstance(effect, RunJob)]

    def order(self, action: str, *, said_ms: int | None = None, **changed: Any) -> str:
        """``said_ms``: the server's clock, where it is not the link's."""
        now_ms = self.core.clock.now_ms(self.clock.now) if said_ms is None else said_ms
        order = command(action, not_after_ms=now_ms + 60_000, **changed)
        if action != "test.look":
            nonce = self.published(Up.HELLO, Hello)[-1].nonce
            order = authorised(msgspec.structs.replace(order, nonce=nonce), not_after_ms=now_ms + 60_000)
        self.tell(Arrived(Down.COMMAND, signed(order), None))
        return order.execution


def test_records_are_published_only_after_the_welcome_and_after_their_commit() -> None:
    rig = Rig()
    rig.tell(Polled(DEVICE, True, {}, frozenset({FaultSign("escpos.eot4.paper_end", "")})))
    assert rig.store.last[StreamKind.URGENT] == 1
    assert rig.published(Up.URGENT, Batch) == []
    rig.established()
    assert len(rig.published(Up.URGENT, Batch)) == 1


def test_quick_check_takes_one_commit_and_one_batch() -> None:
    rig = Rig()
    rig.established()
    commits = rig.store.commits
    execution = rig.order("test.look")
    (order,) = rig.jobs()
    assert rig.store.commits == commits
    rig.tell(
        JobStarted(order.job.execution, order.job.serial),
        JobDone(order.job.execution, order.job.serial, findings=PASS),
    )
    assert rig.store.commits == commits + 1
    states = [one.state.value for one in rig.bodies(ExecutionReport) if one.execution == execution]
    assert states == ["STORED", "RUNNING", "SUCCEEDED"]
    assert len(rig.published(Up.URGENT, Batch)) == 1


def test_slow_check_says_that_it_is_stored_without_waiting_for_its_result() -> None:
    rig = Rig()
    rig.established()
    rig.order("test.look")
    assert rig.bodies(ExecutionReport) == []
    rig.pass_s(CHECK_HOLD_S)
    assert [one.state.value for one in rig.bodies(ExecutionReport)] == ["STORED", "RUNNING"]


def test_intent_of_a_fix_is_durable_before_its_job_is_given_out() -> None:
    rig = Rig()
    rig.established()
    execution = rig.order("test.mend")
    assert execution in rig.store.rows
    assert len(rig.jobs()) == 1
    assert any(name.startswith("used/") for name in rig.store.kept_facts)


def test_forged_commands_are_counted_and_cannot_fill_the_spool() -> None:
    rig = Rig()
    rig.established()
    for _ in range(500):
        rig.tell(Arrived(Down.COMMAND, signed(command(), OTHER_KEY), None))
    assert rig.core.refusals.total == 500
    assert len(rig.bodies(SecurityEvent)) == 1
    rig.pass_s(61)
    assert [one.count for one in rig.bodies(SecurityEvent)] == [1, 499]


def test_authentic_command_that_is_refused_is_answered() -> None:
    rig = Rig()
    rig.established()
    execution = rig.order("test.look", params={"level": 99})
    (report,) = rig.bodies(ExecutionReport)
    assert (report.execution, report.state.value, report.code) == (execution, "REJECTED", "parameters")


def test_fault_and_its_clearing_become_records_and_survive_a_restart() -> None:
    rig = Rig()
    rig.tell(Polled(DEVICE, True, {}, frozenset({FaultSign("escpos.eot4.paper_end", "12 7e")})))
    again = Rig(rig.store)
    again.tell(Polled(DEVICE, True, {}, frozenset()))
    (raised,), (cleared,) = again.bodies(FaultRaised), again.bodies(FaultCleared)
    assert cleared.raised_ms == raised.first_seen_ms


def test_card_number_in_evidence_never_reaches_the_store() -> None:
    rig = Rig()
    rig.tell(Polled(DEVICE, True, {}, frozenset({FaultSign("term.APP_CRASH", "card 4111111111111111 declined")})))
    (raised,) = rig.bodies(FaultRaised)
    assert "4111111111111111" not in raised.evidence
    assert rig.core.maker.scrub_hits == 1


def test_acks_move_the_store_on() -> None:
    rig = Rig()
    rig.established()
    rig.tell(Polled(DeviceId(LINK), True, {"sys.cpu_pct": 3.0}, frozenset()))
    batch = rig.published(Up.BULK, Batch)[0]
    rig.received.setdefault(batch.stream, Received.empty()).add(1, 1)
    rig.down(Down.ACK, ACK_TYPE, rig.ack())
    assert rig.store.acked[StreamKind.BULK] == 1


def test_a_welcome_that_answers_a_repeated_hello_late_sends_nothing_again() -> None:
    rig = Rig()
    rig.established()
    rig.tell(Polled(DeviceId(LINK), True, {"sys.cpu_pct": 3.0}, frozenset()))
    nonce, old = rig.published(Up.HELLO, Hello)[-1].nonce, rig.ack()
    flow = msgspec.structs.replace(FLOW, issued_at_ms=None)
    rig.clock.pass_s(10)
    batch = rig.published(Up.BULK, Batch)[0]
    rig.received.setdefault(batch.stream, Received.empty()).add(1, 1)
    rig.down(Down.ACK, ACK_TYPE, rig.ack())
    sent = len(rig.published(Up.BULK, Batch))
    # It waited in the broker, and what it says of the streams is as old as it.
    rig.down(Down.WELCOME, WELCOME_TYPE, Welcome(nonce, True, old, flow, [1]))
    rig.pass_s(1)
    assert len(rig.published(Up.BULK, Batch)) == sent
    assert rig.store.acked[StreamKind.BULK] == 1


def test_server_that_has_later_numbers_makes_the_stream_start_over_under_a_new_id() -> None:
    rig = Rig()
    rig.established()
    old = rig.store.ids[StreamKind.URGENT]
    rig.received[old] = Received(50, [])
    rig.down(Down.ACK, ACK_TYPE, rig.ack())
    assert rig.store.ids[StreamKind.URGENT] != old
    assert rig.published(Up.HELLO, Hello)[-1].streams[0].stream == rig.store.ids[StreamKind.URGENT]


def test_new_database_is_greeted_again() -> None:
    rig = Rig()
    rig.established()
    greeted = len(rig.published(Up.HELLO, Hello))
    rig.epoch = "f" * 32
    rig.down(Down.ACK, ACK_TYPE, rig.ack())
    assert len(rig.published(Up.HELLO, Hello)) == greeted + 1
    assert rig.store.kept_facts["db_epoch"] == "f" * 32


def test_flow_after_an_outage_sends_again_what_waits() -> None:
    rig = Rig()
    rig.established()
    rig.tell(Polled(DeviceId(LINK), True, {"host.cpu_pct": 1.0}, frozenset({FaultSign("escpos.PAPER_OUT", "")})))
    for _ in range(360):
        rig.pass_s(10)
    rig.effects.clear()
    while not rig.published(Up.URGENT, Batch):
        rig.pass_s(10)
    rig.pass_s(20)
    rig.effects.clear()
    rig.down(Down.FLOW, FLOW_TYPE, msgspec.structs.replace(FLOW, issued_at_ms=rig.server_ms()))
    assert rig.published(Up.URGENT, Batch)


def test_flow_is_kept_over_a_restart_and_live_mode_ends_by_itself() -> None:
    rig = Rig()
    rig.established()
    rig.tell(Polled(DEVICE, True, {"prn.status": "ok"}, frozenset()))
    live = msgspec.structs.replace(FLOW, report_s=77.0, live_for_s=10.0, live_every_s=1.0)
    rig.down(Down.FLOW, FLOW_TYPE, live)
    rig.tell(JobProgress("0" * 8, 5, "unknown executions are left out"))  # type: ignore[arg-type]  # a NewType of str
    for _ in range(20):
        rig.pass_s(1)
    reports = rig.published(Up.LIVE, LiveReport)
    assert 8 <= len(reports) <= 11
    assert reports[0].samples == {"prn.status": "ok"}
    assert Rig(rig.store).core.pacing.flow.report_s == 77.0


def told_firmware(rig: Rig) -> list[str]:
    declared = rig.published(Up.CAPABILITIES, Capabilities)
    return [one.firmware for document in declared for one in document.devices if one.device == DEVICE]


def version(text: object) -> Polled:
    return Polled(DEVICE, True, {"sys.firmware_ver": text}, frozenset())


def test_firmware_is_declared_when_it_becomes_known_and_again_only_when_it_changes() -> None:
    rig = Rig()
    rig.established()
    rig.tell(version(" 2.4.1 "), version("2.4.1"), version(""), version(None), version(7))
    assert told_firmware(rig) == ["", "2.4.1"]
    again = Rig(rig.store)
    again.established()
    first_digest = again.published(Up.HELLO, Hello)[-1].capability_digest
    assert first_digest == digest(again.published(Up.CAPABILITIES, Capabilities)[0])
    again.tell(version("2.4.1"), version("2.5.0"))
    assert told_firmware(again) == ["2.4.1", "2.5.0"]


def test_firmware_that_became_known_between_hello_and_welcome_is_declared_unasked() -> None:
    rig = Rig()
    rig.pass_s(5)
    rig.tell(LinkUp(), version("2.4.1"))
    welcome = Welcome(rig.published(Up.HELLO, Hello)[-1].nonce, False, rig.ack(), FLOW, [1])
    assert told_firmware(rig) == []
    rig.down(Down.WELCOME, WELCOME_TYPE, welcome)
    assert told_firmware(rig) == ["2.4.1"]
    rig.down(Down.WELCOME, WELCOME_TYPE, welcome)
    assert told_firmware(rig) == ["2.4.1"]


def test_firmware_that_changes_at_each_look_is_declared_seldom_and_the_last_one_in_the_end() -> None:
    rig = Rig()
    rig.established()
    for number in range(20):
        rig.tell(version(f"2.{number}"))
        rig.pass_s(10)
    assert told_firmware(rig) == ["", "2.0"]
    rig.pass_s(600)
    assert told_firmware(rig) == ["", "2.0", "2.19"]


def test_a_card_number_in_the_place_of_a_version_never_leaves() -> None:
    rig = Rig()
    rig.established()
    rig.tell(version("fw 4111111111111111"))
    assert "4111111111111111" not in told_firmware(rig)[-1]


def test_link_is_heard_even_when_nothing_of_it_can_be_read() -> None:
    rig = Rig()
    rig.tell(Polled(DeviceId(LINK), False, {}, frozenset()))
    (columns,) = rig.bodies(HealthColumns)
    assert set(columns.columns) == set(OF_THE_AGENT)


def test_lost_connection_is_opened_again_after_the_backoff() -> None:
    rig = Rig()
    rig.established()
    rig.effects.clear()
    rig.tell(LinkDown("reset"))
    assert not any(isinstance(effect, Connect) for effect in rig.effects)
    rig.pass_s(3)
    assert any(isinstance(effect, Connect) for effect in rig.effects)


def test_goodbye_is_said_only_to_who_is_there() -> None:
    rig = Rig()
    assert rig.core.goodbye() is None
    rig.established()
    assert rig.core.goodbye() is not None


def test_verdict_belongs_to_the_device_that_was_asked() -> None:
    rig = Rig()
    rig.established()
    rig.order("test.look")
    (order,) = rig.jobs()
    rig.tell(JobDone(order.job.execution, order.job.serial, findings=PASS))
    kept = [codec.from_json(text, Record) for text in rig.store.records[StreamKind.URGENT].values()]
    devices = {record.device for record in kept if isinstance(record, Record) and isinstance(record.body, Verdict)}
    assert devices == {DEVICE}
