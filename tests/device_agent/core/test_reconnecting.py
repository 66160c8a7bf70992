"""After an outage: the server says at what pace agents come back and drain, and what is urgent goes first."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from device_agent.core.agent import AgentCore
from device_agent.core.backoff import OWN_LINK_FIRST_TRY_S
from device_agent.core.connection import OPEN_TIMEOUT_S
from device_agent.core.effects import Arrived, Connect, GiveUp, LinkDown, LinkUp, Publish
from device_agent.core.identity import Identity
from device_agent.core.instant import NS_PER_S
from device_agent.core.records import RANK_HEALTH, RANK_RESULT, Changes, NewRecord
from device_agent.core.trust import Trust
from device_agent.core.trusted_time import Floor, TrustedClock
from device_agent.core.watch import DeviceSpec
from protocol import codec
from protocol.identifiers import DeviceId
from protocol.session import Flow
from protocol.signing import FLOW_TYPE, sign
from protocol.streams import MAX_BATCH_RECORDS, Batch, StreamKind
from protocol.topics import Down, Up
from tests.device_agent.core.rig import FLOW, Clock, MemoryStore, dice
from tests.device_agent.core.test_agent import LINK, Rig
from tests.device_agent.core.test_command_gate import COMMAND_KEY, POLICY

SLOW = msgspec.structs.replace(FLOW, reconnect_base_s=100.0, reconnect_cap_s=250.0, drain_records_per_s=50)


def connecting(flow: Flow, seed: int) -> tuple[Clock, AgentCore]:
    """An agent that has asked for its first connection."""
    clock, store = Clock(1000.0), MemoryStore(kept_facts={"flow": codec.to_json(flow).decode()})
    trusted = TrustedClock.starting(clock.now, persisted=Floor(), newest_record_ms=0)
    spec = DeviceSpec(DeviceId(LINK), "host", "kiosk", {})
    identity, trust = Identity(LINK, "default", "0" * 32, "1"), Trust.fixed(POLICY, "default")
    core = AgentCore(identity, [spec], trust, FLOW, store, dice(seed), trusted, clock.now)
    clock.pass_s(OWN_LINK_FIRST_TRY_S)
    core.tick(clock.now)
    core.settle(clock.now)
    return clock, core


def delays(flow: Flow, seed: int, tries: int, *, own_link_down: bool = False) -> list[float]:
    """How long one of many agents that have lost their broker waits before each try, none of which succeeds."""
    clock, core = connecting(flow, seed)
    core.handle(LinkUp(), clock.now)
    found = []
    for _ in range(tries):
        lost_at = clock.seconds
        core.handle(LinkDown("gone", own_link_down=own_link_down), clock.now)
        due_ns = core.connection.next_due_ns()
        assert due_ns is not None
        clock.pass_s(due_ns / NS_PER_S - clock.seconds + 0.001)
        core.tick(clock.now)
        assert any(isinstance(effect, Connect) for effect in core.settle(clock.now))
        found.append(clock.seconds - lost_at)
    return found


def test_a_fleet_comes_back_spread_over_what_the_signed_flow_says() -> None:
    fleet = [delays(SLOW, seed, 3) for seed in range(120)]
    for number, spread_s in enumerate((200.0, 200.0, 250.0)):
        waits = sorted(agent[number] for agent in fleet)
        assert waits[-1] <= spread_s + 0.001
        # Full jitter: evenly from nothing to the whole spread, with no step in which many come at once.
        assert waits[10] < 0.25 * spread_s
        assert waits[-10] > 0.75 * spread_s
        assert max(later - earlier for earlier, later in pairwise(waits)) < 0.15 * spread_s


def test_an_agent_whose_own_link_was_down_does_not_wait_for_the_fleet() -> None:
    assert max(delays(SLOW, seed, 1, own_link_down=True)[0] for seed in range(40)) <= OWN_LINK_FIRST_TRY_S


def test_a_broker_that_takes_the_connection_and_says_nothing_is_given_up() -> None:
    clock, core = connecting(SLOW, 1)
    clock.pass_s(OPEN_TIMEOUT_S - 0.1)
    core.tick(clock.now)
    assert core.settle(clock.now) == []
    clock.pass_s(0.2)
    core.tick(clock.now)
    (given_up,) = core.settle(clock.now)
    assert isinstance(given_up, GiveUp)
    core.handle(LinkDown("given up"), clock.now)
    clock.pass_s(2 * SLOW.reconnect_base_s)
    core.tick(clock.now)
    assert any(isinstance(effect, Connect) for effect in core.settle(clock.now))


def test_a_loss_that_is_said_twice_counts_once() -> None:
    clock, core = connecting(SLOW, 1)
    core.handle(LinkDown("given up"), clock.now)
    due_ns = core.connection.next_due_ns()
    core.handle(LinkDown("closed"), clock.now)
    assert (core.connection.backoff.failures, core.connection.next_due_ns()) == (1, due_ns)


def test_the_pace_is_taken_from_the_flow_at_once_and_after_a_restart() -> None:
    rig = Rig()
    rig.established()
    rig.down(Down.FLOW, FLOW_TYPE, SLOW)
    for core in (rig.core, Rig(rig.store).core):
        assert (core.connection.backoff.base_s, core.connection.backoff.cap_s, core.outbox.rate_per_s) == (100, 250, 50)


def test_a_flow_that_the_server_key_has_not_signed_changes_no_pace() -> None:
    rig = Rig()
    rig.established()
    forged = codec.to_json(sign(FLOW_TYPE, codec.to_json(SLOW), [COMMAND_KEY]))
    rig.tell(Arrived(Down.FLOW, forged, None))
    assert (rig.core.connection.backoff.base_s, rig.core.outbox.rate_per_s) == (1, 1000)


def test_a_backlog_drains_at_the_pace_of_the_flow_and_what_is_urgent_first() -> None:
    rig = Rig()
    backlog = [NewRecord(StreamKind.BULK, RANK_HEALTH, b"1")] * 400 + [
        NewRecord(StreamKind.URGENT, RANK_RESULT, b"2")
    ] * 300
    rig.store.commit(Changes(records=backlog), 0)
    rig.established(SLOW)
    sent = batches(rig)
    began_s = rig.clock.seconds
    while rig.clock.seconds < began_s + 8:
        rig.pass_s(0.5)
        sent += batches(rig)
    assert sum(count for _, count in sent) <= 2 * MAX_BATCH_RECORDS + 8 * SLOW.drain_records_per_s
    # All that is urgent, before the first sample.
    kinds = [kind for kind, _ in sent]
    assert kinds.index(Up.BULK) >= 3
    assert sum(count for kind, count in sent[: kinds.index(Up.BULK)] if kind is Up.URGENT) >= 300


def batches(rig: Rig) -> list[tuple[Up, int]]:
    """Published since the last look: of which stream, how many records."""
    sent = [one for one in rig.effects if isinstance(one, Publish) and one.kind in {Up.URGENT, Up.BULK}]
    rig.effects.clear()
    decoded = [(one.kind, codec.decode(one.payload, one.content_type, Batch)) for one in sent]
    return [(kind, len(batch.records)) for kind, batch in decoded if isinstance(batch, Batch)]
