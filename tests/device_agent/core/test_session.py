from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from device_agent.core.declaration import hello
from device_agent.core.effects import Publish
from device_agent.core.instant import NS_PER_S, Instant
from device_agent.core.session import KEEPALIVE_FLOOR_S, Session, State
from device_agent.core.trust import Trust
from protocol import codec
from protocol.identifiers import Nonce, SessionId
from protocol.session import Hello, Presence, PresenceStatus, Welcome
from protocol.signing import ACK_TYPE, WELCOME_TYPE, Policy, SigningKey, sign
from protocol.streams import Ack
from protocol.topics import Up
from tests.device_agent.core.rig import FLOW, Clock, dice

SERVER_KEY, OTHER_KEY = SigningKey.from_seed(b"s" * 32), SigningKey.from_seed(b"o" * 32)
POLICY = Policy(1, 0, [OTHER_KEY.public_hex], [SERVER_KEY.public_hex], [])


def make_hello(nonce: Nonce, session: SessionId, now: Instant) -> Hello:
    return hello(
        boot="0" * 32,
        agent_version="1",
        unregistered=[],
        nonce=nonce,
        session=session,
        digest="0" * 64,
        watches=[],
        positions=[],
        flow=FLOW,
        keepalive_s=10,
        trusted_ms=0,
        trust=Trust.fixed(POLICY, "default"),
        now=now,
    )


def a_session() -> Session:
    return Session(dice(), make_hello, 60, POLICY)


def welcome(nonce: str, key: SigningKey = SERVER_KEY) -> bytes:
    message = Welcome(nonce, True, Ack([], "1" * 32, 1), FLOW, [1])
    return codec.to_json(sign(WELCOME_TYPE, codec.to_json(message), [key]))


def hellos(published: list[Publish]) -> list[Hello]:
    decoded = [codec.decode(one.payload, one.content_type, Hello) for one in published if one.kind is Up.HELLO]
    return [one for one in decoded if isinstance(one, Hello)]


def test_each_connection_has_a_session_and_a_nonce_of_its_own() -> None:
    session, clock = a_session(), Clock()
    seen = set()
    for _ in range(3):
        session.on_connect()
        (said,) = hellos(session.on_connected(clock.now))
        seen.add((said.session, said.nonce))
        session.on_lost(is_silent=False)
    assert len(seen) == 3


def test_hello_is_repeated_after_5_s_doubling_to_300_s_with_the_same_nonce() -> None:
    session, clock = a_session(), Clock()
    session.on_connect()
    (first,) = hellos(session.on_connected(clock.now))
    waits = []
    for _ in range(9):
        due_ns = session.next_due_ns()
        assert due_ns is not None
        waits.append((due_ns - clock.now.monotonic_ns) // 10**9)
        clock.pass_s(waits[-1])
        (again,) = hellos(session.on_tick(clock.now))
        assert again.nonce == first.nonce
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_welcome_with_its_nonce_and_the_server_keys_signature_establishes_the_session() -> None:
    session, clock = a_session(), Clock()
    session.on_connect()
    session.on_connected(clock.now)
    assert session.on_welcome(welcome(session.nonce), None, clock.now) is not None
    assert session.state is State.ESTABLISHED
    assert session.on_tick(clock.pass_s(1000)) == []


@pytest.mark.parametrize(("waits_s", "is_late"), [(1.5, False), (2.5, True), (20.0, True)])
def test_a_welcome_is_late_when_it_comes_seconds_after_the_first_hello_of_its_connection(
    waits_s: float, is_late: bool
) -> None:
    session, clock = a_session(), Clock()
    for _ in range(2):
        session.on_connect()
        session.on_connected(clock.now)
        session.on_tick(clock.pass_s(waits_s))
        session.on_welcome(welcome(session.nonce), None, clock.now)
        assert session.is_welcomed_late is is_late
        # One more answers a hello that was repeated.
        session.on_welcome(welcome(session.nonce), None, clock.pass_s(10))
        assert session.is_welcomed_late is is_late
        session.on_lost(is_silent=False)


@pytest.mark.parametrize("reason", ["nonce", "signature", "payload_type", "not_decodable"])
def test_welcome_that_is_not_ours_changes_nothing_and_is_counted(reason: str) -> None:
    session, clock = a_session(), Clock()
    session.on_connect()
    session.on_connected(clock.now)
    ack = codec.to_json(sign(ACK_TYPE, codec.to_json(Ack([], "1" * 32, 1)), [SERVER_KEY]))
    payloads = {
        "nonce": welcome("0" * 32),
        "signature": welcome(session.nonce, OTHER_KEY),
        "payload_type": ack,
        "not_decodable": b"{}",
    }
    assert session.on_welcome(payloads[reason], None, clock.now) is None
    assert session.state is State.GREETING
    assert session.refused == {reason: 1}


def test_will_and_presence_carry_the_session_id() -> None:
    session = a_session()
    session.on_connect()
    said = codec.decode(session.presence(PresenceStatus.OFFLINE, "connection lost").payload, None, Presence)
    assert isinstance(said, Presence)
    assert said.session == session.id


def test_keepalive_is_halved_after_two_silent_losses_down_to_a_floor() -> None:
    session, clock = a_session(), Clock()
    seen = []
    for _ in range(8):
        session.on_connect()
        session.on_connected(clock.now)
        session.on_lost(is_silent=True)
        seen.append(session.keepalive_s)
    assert seen == [60, 30, 30, KEEPALIVE_FLOOR_S, 15, 15, 15, 15]


class SessionMachine(RuleBasedStateMachine):
    """Established only by a welcome that answers this very connection's hello."""

    def __init__(self) -> None:
        super().__init__()
        self.session, self.clock = a_session(), Clock()
        self.old_nonces: list[str] = []
        self.was_welcomed = False

    @rule()
    def connects(self) -> None:
        if self.session.state is State.IDLE:
            self.session.on_connect()
            self.was_welcomed = False

    @rule()
    def connected(self) -> None:
        self.session.on_connected(self.clock.now)

    @rule(is_silent=st.booleans())
    def lost(self, is_silent: bool) -> None:
        self.old_nonces.append(self.session.nonce)
        self.session.on_lost(is_silent=is_silent)

    @rule(seconds=st.sampled_from([1.0, 6.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        said = hellos(self.session.on_tick(self.clock.pass_s(seconds)))
        assert not said or self.session.state is State.GREETING

    @rule()
    def welcomed(self) -> None:
        was = self.session.state
        answer = self.session.on_welcome(welcome(self.session.nonce or "0" * 32), None, self.clock.now)
        self.was_welcomed = self.was_welcomed or answer is not None
        assert (answer is not None) == (was in {State.GREETING, State.ESTABLISHED})

    @rule(data=st.data())
    def welcomed_by_an_old_one(self, data: st.DataObject) -> None:
        nonces = [nonce for nonce in self.old_nonces if nonce and nonce != self.session.nonce]
        if nonces:
            assert self.session.on_welcome(welcome(data.draw(st.sampled_from(nonces))), None, self.clock.now) is None

    @invariant()
    def established_means_welcomed(self) -> None:
        assert self.session.state is not State.ESTABLISHED or self.was_welcomed


SessionMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestSession = SessionMachine.TestCase


def test_sign_that_the_server_is_back_ends_the_doubling_of_hellos() -> None:
    session, clock = a_session(), Clock()
    session.on_connect()
    session.on_connected(clock.now)
    session.on_heard(clock.now)
    assert hellos(session.on_tick(clock.pass_s(4.9))) == []
    while not (session.next_due_ns() or 0) - clock.now.monotonic_ns > 200 * NS_PER_S:
        session.on_tick(clock.pass_s(5))
    session.on_heard(clock.now)
    assert hellos(session.on_tick(clock.pass_s(4.9))) == []
    assert len(hellos(session.on_tick(clock.pass_s(0.2)))) == 1
    assert hellos(session.on_tick(clock.pass_s(4.9))) == []
    assert len(hellos(session.on_tick(clock.pass_s(0.2)))) == 1
    # Long after the last one: at once.
    while not (session.next_due_ns() or 0) - clock.now.monotonic_ns > 200 * NS_PER_S:
        session.on_tick(clock.pass_s(5))
    clock.pass_s(20)
    session.on_heard(clock.now)
    assert len(hellos(session.on_tick(clock.now))) == 1
