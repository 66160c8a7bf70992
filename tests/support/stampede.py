"""A fleet that loses its broker, on virtual time: the agents' own backoff against a broker that takes so many
connections a second and no more.

Who waits longer than the agent's patience gives up, and the broker's work for it is wasted all the same. A broker that
is down refuses at once. Only attempts that reach a living broker cost it anything; both kinds are counted.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field

from device_agent.core.backoff import Backoff
from device_agent.core.instant import NS_PER_S
from fleet_server.ingest.answers import flow_for
from protocol.session import Profile

PATIENCE_S = 10.0  # `device_agent.adapters.mqtt_link.CONNECT_TIMEOUT_S`
GIVE_UP_AFTER = 40  # attempts of one agent: by then it has long been shown that they do not come back


@dataclass(frozen=True, slots=True)
class Outage:
    agents: int
    accepts_per_s: float
    down_s: float
    seed: int = 1


@dataclass(slots=True)
class Stampede:
    """``per_second``: attempts that reached a living broker, by second since it was back."""

    all_back_s: float = 0.0
    back: int = 0
    attempts: int = 0
    refused: int = 0
    timed_out: int = 0
    per_second: Counter[int] = field(default_factory=Counter)

    @property
    def reached(self) -> int:
        """Attempts that a living broker had to deal with."""
        return sum(self.per_second.values())

    @property
    def peak_per_s(self) -> int:
        return max(self.per_second.values(), default=0)


def fleet_of(agents: int) -> list[Backoff]:
    """As the server paces a fleet of this size."""
    flow = flow_for(Profile.UNMETERED, agents)
    made = []
    for _ in range(agents):
        backoff = Backoff()
        backoff.set_pace(base_s=flow.reconnect_base_s, cap_s=flow.reconnect_cap_s, first_s=flow.reconnect_first_s)
        backoff.on_established(-3600 * NS_PER_S)
        made.append(backoff)
    return made


def reconnect(fleet: list[Backoff], outage: Outage) -> Stampede:
    chance = random.Random(outage.seed)
    result = Stampede()
    tries = [
        (backoff.on_lost(0, own_link_down=False, jitter=chance.random()), place) for place, backoff in enumerate(fleet)
    ]
    heapq.heapify(tries)
    made = Counter[int]()
    free_at_s = outage.down_s
    while tries:
        at_s, place = heapq.heappop(tries)
        result.attempts += 1
        made[place] += 1
        failed_at_s = at_s
        if at_s < outage.down_s:
            result.refused += 1
        else:
            result.per_second[int(at_s - outage.down_s)] += 1
            # A broker with too many in its queue drops further ones before it has done anything for them.
            is_queued = free_at_s - at_s < PATIENCE_S
            free_at_s = max(free_at_s, at_s) + 1 / outage.accepts_per_s if is_queued else free_at_s
            if is_queued and free_at_s - at_s <= PATIENCE_S:
                result.back += 1
                result.all_back_s = max(result.all_back_s, free_at_s - outage.down_s)
                continue
            result.timed_out += 1
            failed_at_s = at_s + PATIENCE_S
        if made[place] < GIVE_UP_AFTER:
            delay_s = fleet[place].on_lost(int(failed_at_s * NS_PER_S), own_link_down=False, jitter=chance.random())
            heapq.heappush(tries, (failed_at_s + delay_s, place))
    return result
