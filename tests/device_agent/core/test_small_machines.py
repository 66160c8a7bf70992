"""The smaller parts of the core: refusals, live mode, pace, the opening of a connection, the making of records."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.core.connection import OPEN_TIMEOUT_S, Connection
from device_agent.core.declaration import Declaration
from device_agent.core.effects import Arrived, Connect, GiveUp, LinkDown
from device_agent.core.pace import Pacing
from device_agent.core.records import MAX_RECORD_BYTES, RecordMaker
from device_agent.core.refusals import TELL_EVERY_S, Refusals
from device_agent.core.session import Session
from device_agent.core.verdicts import params_for
from protocol import codec
from protocol.capabilities import Capabilities, digest
from protocol.executions import ExecutionState
from protocol.identifiers import DeviceId
from protocol.records import MAX_STEPS, ExecutionReport, HealthColumns, Record, Sample
from protocol.streams import StreamKind
from protocol.topics import Down
from tests.device_agent.core.invented import DEFINITIONS
from tests.device_agent.core.rig import FLOW, Clock, dice
from tests.device_agent.core.test_agent import Rig
from tests.device_agent.core.test_session import POLICY, make_hello

DEVICE = DeviceId("gw-00000001")


def connection() -> tuple[Connection, Session, Clock]:
    clock = Clock(100)
    session = Session(dice(), make_hello, 60, POLICY)
    return Connection(session, dice(uniform=0.5), clock.now), session, clock


def test_broker_that_accepts_and_says_nothing_is_given_up() -> None:
    link, _session, clock = connection()
    (opened,) = link.on_tick(clock.pass_s(5))
    assert isinstance(opened, Connect)
    assert link.on_tick(clock.pass_s(OPEN_TIMEOUT_S - 1)) == []
    (given_up,) = link.on_tick(clock.pass_s(1))
    assert isinstance(given_up, GiveUp)
    link.on_lost(LinkDown("given up"), clock.now)
    assert link.next_due_ns() is not None


def test_loss_that_is_said_twice_counts_once() -> None:
    link, _session, clock = connection()
    link.on_tick(clock.pass_s(5))
    link.on_lost(LinkDown("reset"), clock.now)
    link.on_lost(LinkDown("reset"), clock.now)
    assert link.backoff.failures == 1


@given(st.lists(st.tuples(st.sampled_from(["command.signature", "command.replayed"]), st.floats(0, 40)), max_size=80))
def test_every_refusal_is_counted_and_few_are_told(refused: list[tuple[str, float]]) -> None:
    refusals, clock = Refusals(), Clock()
    told = [event for code, passed_s in refused for event in refusals.add(code, "why", clock.pass_s(passed_s))]
    told += refusals.on_tick(clock.pass_s(TELL_EVERY_S))
    assert sum(event.count for event in told) == refusals.total == len(refused)
    assert len(told) <= 2 * (2 + clock.seconds / TELL_EVERY_S)


def test_halved_keepalive_follows_what_the_server_asks_for_at_half_its_pace() -> None:
    link, session, clock = connection()
    for _ in range(2):
        link.on_tick(clock.pass_s(900))
        session.on_connected(clock.now)
        link.on_lost(LinkDown("silence", is_silent=True), clock.now)
    assert session.keepalive_s == 30
    session.asked_keepalive_s = 600
    assert session.keepalive_s == 300
    session.asked_keepalive_s = 10
    assert session.keepalive_s == 10


def test_stored_flow_of_an_unknown_shape_is_left_aside() -> None:
    assert Pacing(FLOW, '{"profile": "warp"}').flow == FLOW


@pytest.mark.parametrize("count", [1, 3, 10, 128])
def test_columns_too_many_for_one_record_are_split_and_none_is_lost(count: int) -> None:
    maker = RecordMaker("0" * 32)
    column: list[Sample] = ["x" * 64] * MAX_STEPS
    named = {f"a.metric_{number}": column for number in range(count)}
    made = maker.spooled(DEVICE, HealthColumns(0, 1000, MAX_STEPS, named), Clock().now)
    decoded = [codec.from_json(one.payload, Record) for one in made]
    seen = [name for one in decoded if isinstance(one, Record) for name in getattr(one.body, "columns", {})]
    assert sorted(seen) == sorted(named)
    assert all(len(one.payload) <= MAX_RECORD_BYTES and one.stream is StreamKind.BULK for one in made)


def test_free_text_is_scrubbed_and_cut_before_it_becomes_bytes() -> None:
    report = ExecutionReport(
        execution="0198c0de-0000-7000-8000-000000000001",
        state=ExecutionState.RUNNING,
        detail="card 4111111111111111 " + "x" * 600,
        output_tail="y" * 5000 + " 4111111111111111",
    )
    (made,) = RecordMaker("0" * 32).spooled(DEVICE, report, Clock().now)
    assert b"4111111111111111" not in made.payload
    assert isinstance(codec.from_json(made.payload, Record), Record)


def test_check_of_a_fix_gets_the_parameters_it_declares_itself() -> None:
    look = DEFINITIONS["test.look"]
    assert params_for(look, {"level": 3, "other": 1}, is_own=False) == {"level": 3}
    assert params_for(look, {}, is_own=False) == {"level": 1}


def test_capabilities_of_a_device_are_its_definitions_and_have_one_digest() -> None:
    rig = Rig()
    specs = [watch.spec for watch in rig.core.watches.values()]
    first, second = (Declaration(specs, lambda _name: None, str) for _ in range(2))
    assert first.digest == second.digest == digest(first.capabilities)
    assert isinstance(codec.from_json(codec.to_json(first.capabilities), Capabilities), Capabilities)


@settings(max_examples=150)
@given(
    st.sampled_from(list(Down)), st.binary(max_size=200), st.sampled_from([None, codec.JSON, codec.JSON_DEFLATE, "x"])
)
def test_no_bytes_from_the_broker_raise_or_change_the_session(
    kind: Down, payload: bytes, content_type: str | None
) -> None:
    rig = Rig()
    rig.established()
    state = rig.core.session.state
    rig.tell(Arrived(kind, payload, content_type))
    assert rig.core.session.state is state
    assert rig.core.refusals.total + rig.core.session.refused.total() == 1
