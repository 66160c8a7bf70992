"""A real broker and the fleet's side of the wire, for tests of the running agent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device_agent.bootstrap import Agent, build
from device_agent.config import load
from tests.integration.agent.actions import definitions_for
from tests.integration.agent.fleet_side import FleetSide, Keys, write_config
from tests.support.broker import Broker, running_broker

SERVICE = "svc-fleet-1"


@dataclass(slots=True)
class Site:
    """One link on one broker, with the fleet's side listening."""

    folder: Path
    broker: Broker
    keys: Keys
    fleet: FleetSide
    link: str
    agents: list[tuple[Agent, threading.Thread]] = field(default_factory=list)

    def config(self, more: str = "") -> Path:
        return write_config(self.folder, self.link, self.broker, self.keys, more)

    def start_agent(self, more: str = "") -> Agent:
        return self.run(build(load(self.config(more)), definitions_for))

    def run(self, agent: Agent) -> Agent:
        thread = threading.Thread(target=agent.run, daemon=True)
        thread.start()
        self.agents.append((agent, thread))
        return agent

    def stop_agents(self) -> None:
        for agent, thread in self.agents:
            agent.stop()
            thread.join(20)
            assert not thread.is_alive()
        self.agents.clear()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def make_site(broker: Broker, tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    made: list[Site] = []

    def make(link: str) -> Site:
        keys = Keys()
        site = Site(tmp_path / link, broker, keys, FleetSide(broker, link, keys, SERVICE), link)
        made.append(site)
        return site

    yield make
    for site in made:
        site.stop_agents()
        site.fleet.stop()
