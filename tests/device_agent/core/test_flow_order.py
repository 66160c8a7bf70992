"""A broker that plays signed flows and welcomes again: none of it changes the pace or prolongs live mode."""

from __future__ import annotations

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from device_agent.core.session import Session, State
from protocol import codec
from protocol.session import Flow, Welcome
from protocol.signing import FLOW_TYPE, WELCOME_TYPE, sign
from protocol.streams import Ack
from tests.device_agent.core.rig import FLOW, Clock
from tests.device_agent.core.test_session import SERVER_KEY, a_session


def welcome(nonce: str, flow: Flow) -> bytes:
    message = Welcome(nonce, False, Ack([], "1" * 32, 1), flow, [1])
    return codec.to_json(sign(WELCOME_TYPE, codec.to_json(message), [SERVER_KEY]))


def flow_message(flow: Flow) -> bytes:
    return codec.to_json(sign(FLOW_TYPE, codec.to_json(flow), [SERVER_KEY]))


def dated(at_ms: int | None) -> Flow:
    return msgspec.structs.replace(FLOW, issued_at_ms=at_ms)


def greeting() -> Session:
    session = a_session()
    session.on_connect()
    session.on_connected(Clock().now)
    return session


def established(at_ms: int | None) -> Session:
    session = greeting()
    assert session.on_welcome(welcome(session.nonce, dated(at_ms)), None, Clock().now) is not None
    return session


def test_the_same_flow_is_taken_once() -> None:
    session = established(1000)
    asked = flow_message(dated(2000))
    assert session.on_flow(asked, None) is not None
    assert session.on_flow(asked, None) is None
    assert session.refused == {"flow_old": 1}


def test_a_flow_without_a_date_is_taken_from_a_server_that_dates_none_and_from_no_other() -> None:
    old_server, new_server = established(None), established(1000)
    assert old_server.on_flow(flow_message(dated(None)), None) is not None
    assert old_server.on_flow(flow_message(dated(None)), None) is not None
    assert new_server.on_flow(flow_message(dated(None)), None) is None


def test_a_flow_before_the_welcome_is_refused_and_a_server_whose_clock_went_back_is_heard_on_the_next_connection() -> (
    None
):
    session = greeting()
    assert session.on_flow(flow_message(dated(5000)), None) is None
    assert session.refused == {"flow_early": 1}
    session.on_welcome(welcome(session.nonce, dated(5000)), None, Clock().now)
    assert session.on_flow(flow_message(dated(4000)), None) is None
    session.on_lost(is_silent=False)
    session.on_connect()
    session.on_connected(Clock().now)
    assert session.on_welcome(welcome(session.nonce, dated(4000)), None, Clock().now) is not None
    assert session.on_flow(flow_message(dated(4500)), None) is not None


class ReplayingBroker(RuleBasedStateMachine):
    """A server whose clock goes on signs; the broker passes on, holds back, and plays again whatever it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.session = a_session()
        self.now_ms = 1_000
        self.seen: list[tuple[int, bool, bytes]] = []  # issued at, whether a welcome, message
        self.taken_ms: list[int] = []  # on this connection, in the order they were taken

    @rule()
    def reconnects(self) -> None:
        self.session.on_lost(is_silent=False)
        self.session.on_connect()
        self.session.on_connected(Clock().now)
        self.taken_ms = []

    @rule(passes_ms=st.integers(1, 5_000), is_welcome=st.booleans(), is_passed_on=st.booleans())
    def server_speaks(self, passes_ms: int, is_welcome: bool, is_passed_on: bool) -> None:
        self.now_ms += passes_ms
        flow = dated(self.now_ms)
        message = welcome(self.session.nonce or "0" * 32, flow) if is_welcome else flow_message(flow)
        self.seen.append((self.now_ms, is_welcome, message))
        if is_passed_on:
            was_heard = self.session.state is State.ESTABLISHED or (is_welcome and self.session.state is State.GREETING)
            assert self._arrives(*self.seen[-1]) is was_heard

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def broker_plays_again(self, data: st.DataObject) -> None:
        at_ms, is_welcome, message = data.draw(st.sampled_from(self.seen[-12:]))
        before_ms = max(self.taken_ms, default=None)
        was_taken = self._arrives(at_ms, is_welcome, message)
        if was_taken and before_ms is not None:
            assert at_ms > before_ms or (is_welcome and at_ms == before_ms)

    def _arrives(self, at_ms: int, is_welcome: bool, message: bytes) -> bool:
        taken = (
            self.session.on_welcome(message, None, Clock().now) if is_welcome else self.session.on_flow(message, None)
        )
        if taken is not None:
            self.taken_ms.append(at_ms)
        return taken is not None

    @invariant()
    def what_is_taken_only_gets_younger(self) -> None:
        assert self.taken_ms == sorted(self.taken_ms)


ReplayingBroker.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestReplayingBroker = ReplayingBroker.TestCase
