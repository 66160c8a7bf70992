"""A fleet that loses its broker at once: 100,000 agents on virtual time, and 2,000 real agent cores on a real broker.

The simulation takes the agents' own backoff, paced as the server paces a fleet of that size, against a broker that
takes as many connections a second as was measured (`fleet_server.ingest.answers.ACCEPTS_PER_S`) and is away for two
minutes.

The real ones are whole agent cores in one process, each with its own certificate and mutual TLS, that were welcomed by
a real server; the broker is stopped and started again. ``AGENTS=`` makes them fewer. Memory is what the process gained
from before the first core to all of them connected.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from device_agent.adapters import clock
from fleet_server.ingest.answers import ACCEPTS_PER_S
from simulators.load.agent_link import AgentLink
from simulators.load.fleet import TERMINAL_CLASS, FleetSize, read_bundles, read_policy
from simulators.load.stage import Stage
from simulators.load.swarm import BrokerAddress, Credentials, Swarm
from tests.benchmarks.figures import Figure
from tests.support.stampede import Outage, fleet_of, reconnect

SIMULATED = 100_000
DOWN_S = 120.0
REAL = 2000
_WITHIN_S = 600.0


def measure(folder: Path) -> list[Figure]:
    return [*simulated(), *real(folder / "stampede", int(os.environ.get("AGENTS", REAL)))]


def simulated() -> list[Figure]:
    needed_s = SIMULATED / ACCEPTS_PER_S
    result = reconnect(fleet_of(SIMULATED), Outage(SIMULATED, ACCEPTS_PER_S, DOWN_S))
    return [
        Figure("simulated agents back after an outage of 120 s", result.back, "", f"{SIMULATED:,}"),
        Figure("busiest second", result.peak_per_s, "attempts", f"at most {ACCEPTS_PER_S}"),
        Figure("all back after", result.all_back_s, "s", f"at most {3 * needed_s:,.0f} s"),
        Figure("attempts each that reached the broker", result.reached / SIMULATED, "", "at most 1.1"),
        Figure("attempts each, with those while it was away", result.attempts / SIMULATED, ""),
    ]


def real(folder: Path, agents: int) -> list[Figure]:
    with Stage(folder, FleetSize(agents, 0)) as stage:
        stage.enrol()
        stage.start()
        bundles, policy = read_bundles(stage.agents, stage.size), read_policy(stage.policy)
        first = bundles[0]
        process = psutil.Process()
        before_bytes = process.memory_info().rss
        swarm = Swarm(BrokerAddress(first.host, first.port, first.folder / "ca.crt"), clock.now, Counter())
        links = [AgentLink(bundle.link, TERMINAL_CLASS, policy, clock.system_dice(), clock.now()) for bundle in bundles]
        for link, bundle in zip(links, bundles, strict=True):
            swarm.add(link, Credentials(bundle.folder / "client.crt", bundle.folder / "client.key"))
        try:
            return _real(stage, swarm, links, lambda: process.memory_info().rss - before_bytes)
        finally:
            swarm.close()


def _real(stage: Stage, swarm: Swarm, links: list[AgentLink], gained_bytes: Callable[[], int]) -> list[Figure]:
    swarm.start()
    connect_s = _until_all(swarm, links)
    kb_each = gained_bytes() / len(links) / 1024
    # The first flow came with the welcome; a healthy minute, so that the loss is a first one.
    _for(swarm, 61.0)
    attempts = sum(link.attempts for link in links)
    began_s = time.monotonic()
    stage.restart_broker()
    down_s = time.monotonic() - began_s
    while any(link.is_established for link in links) and swarm.counts["losses"] < len(links):
        swarm.step()
    back_s = _until_all(swarm, links)
    broker = psutil.Process(stage.pids()["broker"]).cpu_times()
    handshake_ms = (broker.user + broker.system) / len(links) * 1e3
    again = (sum(link.attempts for link in links) - attempts) / len(links)
    needed_s = len(links) / ACCEPTS_PER_S
    return [
        Figure("real agent cores in one process, mutual TLS", len(links), ""),
        Figure("memory of each", kb_each, "kB", "at most 60 kB"),
        Figure("connected and welcomed within", connect_s, "s"),
        Figure("broker away for", down_s, "s"),
        Figure("welcomed again", sum(link.is_established for link in links), "", f"{len(links):,}"),
        Figure("all welcomed again after", back_s, "s", f"at most {3 * needed_s + 10:.0f} s"),
        Figure("attempts each", again, "", "at most 1.1"),
        Figure("broker's processor time for each that came back", handshake_ms, "ms"),
    ]


def _until_all(swarm: Swarm, links: list[AgentLink]) -> float:
    """Until every link is welcomed; looks at all of them a few times a second only."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < _WITHIN_S:
        _for(swarm, 0.2)
        if all(link.is_established for link in links):
            break
    return time.monotonic() - began_s


def _for(swarm: Swarm, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    swarm.run_until(lambda: time.monotonic() >= until_s)
