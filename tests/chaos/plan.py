"""What goes wrong in a run, and when: data, made from a seed alone, so that a run can be had again.

Times are seconds from the moment the agents are started. A plan names the kinds that this machine can do; what it
cannot is left out by the nemesis and said. Invariant: the same seed gives the same plan on every machine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

import msgspec

AGENTS = 4
FEED_S = 10.0
# Of the time of feeding: the first and the last beginning of a fault.
FIRST_SHARE, LAST_SHARE = 0.1, 0.94
_SQLITE_EVERY = 5


class Fault(StrEnum):
    KILL = "kill"  # kill -9; it comes back after a while
    STOP = "stop"  # SIGSTOP, later SIGCONT
    AMNESIA = "amnesia"  # the broker comes back without anything it kept
    PARTITION = "partition"  # every packet of an agent is dropped
    LOSS = "loss"  # a fifth of its packets
    BAD_LINE = "bad_line"  # delay, reordering and duplicates
    RESET = "reset"  # connections are reset
    DISK_FULL = "disk_full"
    CLOCK = "clock"  # an agent's clock leaps by years each second
    FAILOVER = "failover"  # an asynchronous standby that lags is promoted
    RESTORE = "restore"  # a backup is made, and brought back later


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """``target``: an agent (``agent0`` …), a process of the server, or nothing. ``seed``: chance inside the fault."""

    number: int
    fault: Fault
    start_s: float
    for_s: float
    target: str = ""
    seed: int = 0

    @property
    def end_s(self) -> float:
        return self.start_s + self.for_s


class Plan(msgspec.Struct, frozen=True):
    seed: int
    database: str  # postgresql, sqlite
    ingest_workers: int
    records_each: int
    feed_s: float
    steps: list[Step]

    @property
    def last_end_s(self) -> float:
        return max((step.end_s for step in self.steps), default=0.0)

    def only(self, numbers: set[int]) -> Plan:
        return msgspec.structs.replace(self, steps=[step for step in self.steps if step.number in numbers])


@dataclass(frozen=True, slots=True)
class _Kind:
    weight: int
    shortest_s: float
    longest_s: float


_KINDS = {
    Fault.KILL: _Kind(8, 0.1, 2.5),
    Fault.STOP: _Kind(5, 0.5, 6.0),
    Fault.AMNESIA: _Kind(2, 0.1, 2.0),
    Fault.PARTITION: _Kind(3, 1.0, 6.0),
    Fault.LOSS: _Kind(3, 2.0, 6.0),
    Fault.BAD_LINE: _Kind(3, 2.0, 6.0),
    Fault.RESET: _Kind(2, 0.1, 0.2),
    Fault.DISK_FULL: _Kind(2, 2.0, 5.0),
    Fault.CLOCK: _Kind(1, 3.0, 8.0),
}
_OF_AN_AGENT = frozenset({Fault.PARTITION, Fault.LOSS, Fault.BAD_LINE, Fault.RESET, Fault.DISK_FULL, Fault.CLOCK})
AGENT_NAMES = tuple(f"agent{n}" for n in range(AGENTS))
BROKER, INGEST, API, SCHEDULER, DATABASE = "broker", "ingest-1", "api", "scheduler", "database"
SIGNER = "signer"
# Of the steps that would hit who has commands signed, one in so many hits who signs them.
_SIGNER_EVERY = 3
# Setting the database back takes its processes away for a while; nothing else is done to it then.
_SETBACKS = (Fault.FAILOVER, Fault.RESTORE)
_SETBACK_SHARE = 0.4


def plan_for(seed: int, *, records: int = 10_000, faults: int | None = None, feed_s: float = FEED_S) -> Plan:
    """``feed_s``: how long the agents take to make their records; faults begin and last in proportion to it."""
    chance = random.Random(seed)
    database = "sqlite" if seed % _SQLITE_EVERY == _SQLITE_EVERY - 1 else "postgresql"
    workers = chance.choice((1, 2))
    count = chance.randint(5, 10) if faults is None else faults
    scale = feed_s / FEED_S
    setback = _setback(chance, database, scale) if chance.random() < _SETBACK_SHARE else None
    steps = [setback] if setback else []
    while len(steps) < count:
        step = _step(chance, workers, database, scale)
        if not (setback and step.target == DATABASE):
            steps.append(step)
    steps.sort(key=lambda step: step.start_s)
    numbered = [msgspec.structs.replace(step, number=number) for number, step in enumerate(steps, 1)]
    return Plan(seed, database, workers, records // AGENTS, feed_s, numbered)


def _setback(chance: random.Random, database: str, scale: float) -> Step:
    fault = Fault.RESTORE if database == "sqlite" else chance.choice(_SETBACKS)
    start_s = round(chance.uniform(2.0, 6.0) * scale, 2)
    return Step(0, fault, start_s, round(chance.uniform(1.0, 4.0) * scale, 2), seed=chance.getrandbits(32))


def _step(chance: random.Random, workers: int, database: str, scale: float) -> Step:
    fault = chance.choices(list(_KINDS), [kind.weight for kind in _KINDS.values()])[0]
    kind = _KINDS[fault]
    start_s = round(chance.uniform(FIRST_SHARE, LAST_SHARE) * FEED_S * scale, 2)
    for_s = round(chance.uniform(kind.shortest_s, kind.longest_s) * min(scale, 1.0), 2)
    target = BROKER if fault is Fault.AMNESIA else chance.choice(AGENT_NAMES)
    if fault in {Fault.KILL, Fault.STOP}:
        target = _victim(chance, workers, database)
    seed = chance.getrandbits(32)
    if target in {API, SCHEDULER} and seed % _SIGNER_EVERY == 0:
        # No chance is drawn for it: every other step stays what its seed has always said.
        target = SIGNER
    return Step(0, fault, start_s, for_s, target, seed)


def _victim(chance: random.Random, workers: int, database: str) -> str:
    server = [BROKER, INGEST, INGEST, API, SCHEDULER]
    server += ["ingest-2"] * (workers - 1) + [DATABASE] * (database == "postgresql")
    # The agents together are hit as often as all the rest.
    return chance.choice(server) if chance.random() < 0.6 else chance.choice(AGENT_NAMES)
