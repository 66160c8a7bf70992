"""A link with the agent's whole core behind it and no device: what reconnecting, memory and handshakes really cost.

Beside `WireLink` it verifies commands, keeps faults and samples (of which there are none) and journals into memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.bootstrap import DEFAULT_DRAIN_RECORDS_PER_S, PACES
from device_agent.core.agent import AgentCore
from device_agent.core.backoff import DEFAULT_BASE_S, DEFAULT_CAP_S
from device_agent.core.effects import Effect, Event, Publish
from device_agent.core.identity import Identity
from device_agent.core.instant import Instant
from device_agent.core.ports import Dice
from device_agent.core.session import State
from device_agent.core.trust import Trust
from device_agent.core.trusted_time import Floor, TrustedClock
from device_agent.core.watch import DeviceSpec
from protocol.identifiers import DeviceId, LinkId
from protocol.session import Flow, Profile
from protocol.signing import Policy
from simulators.load.held_records import HeldRecords
from simulators.load.wire_link import AGENT_VERSION


class AgentLink:
    def __init__(self, link: LinkId, terminal_class: str, policy: Policy, dice: Dice, now: Instant) -> None:
        keepalive_s, sample_s, report_s = PACES[Profile.UNMETERED]
        floor = Flow(
            profile=Profile.UNMETERED,
            keepalive_s=keepalive_s,
            sample_s=sample_s,
            report_s=report_s,
            drain_records_per_s=DEFAULT_DRAIN_RECORDS_PER_S,
            reconnect_base_s=DEFAULT_BASE_S,
            reconnect_cap_s=DEFAULT_CAP_S,
        )
        trusted = TrustedClock.starting(now, persisted=Floor(), newest_record_ms=0)
        store = HeldRecords(dice.hex128(), dice.hex128())
        identity = Identity(link, "default", dice.hex128(), AGENT_VERSION)
        spec = DeviceSpec(DeviceId(link), "host", terminal_class, {})
        self.core = AgentCore(identity, [spec], Trust.fixed(policy, "default"), floor, store, dice, trusted, now)

    @property
    def link(self) -> LinkId:
        return self.core.identity.link

    @property
    def is_established(self) -> bool:
        return self.core.session.state is State.ESTABLISHED

    @property
    def attempts(self) -> int:
        return self.core.connection.attempts

    def handle(self, event: Event, now: Instant) -> None:
        self.core.handle(event, now)

    def tick(self, now: Instant) -> None:
        self.core.tick(now)

    def settle(self, now: Instant) -> Sequence[Effect]:
        return self.core.settle(now)

    def next_due_ns(self) -> int | None:
        return self.core.next_due_ns()

    def goodbye(self) -> Publish | None:
        return self.core.goodbye()
