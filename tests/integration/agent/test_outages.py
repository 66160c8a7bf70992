"""What happens while broker or server are away is there afterwards, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol.records import FaultCleared, FaultRaised
from protocol.session import PresenceStatus
from tests.integration.agent.conftest import Site
from tests.integration.agent.fleet_side import FleetSide, Keys
from tests.integration.agent.test_kill import running_agent, running_terminal
from tests.support.broker import Broker, running_broker

pytestmark = pytest.mark.integration


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """One that may be killed without disturbing other tests."""
    with running_broker(tmp_path / "own") as broker:
        yield broker


def test_hello_is_repeated_until_a_server_is_there(make_site: Callable[[str], Site]) -> None:
    site = make_site("gw-no-server-yet")
    site.fleet.welcomes = False
    site.start_agent('[host]\nkind = "none"\n')
    site.fleet.until(lambda: site.fleet.hellos, "the first hello arrives")
    site.fleet.welcomes = True
    site.fleet.until(lambda: site.fleet.capabilities, "a repeated hello is welcomed")
    assert len({hello.nonce for hello in site.fleet.hellos}) == 1


def test_faults_of_a_server_outage_arrive_afterwards_in_order(make_site: Callable[[str], Site], tmp_path: Path) -> None:
    site = make_site("gw-server-outage")
    fleet = site.fleet
    socket = tmp_path / "service.sock"
    with running_terminal(socket) as terminal:
        site.start_agent(f'[host]\nkind = "terminal"\nsocket = "{socket}"\npoll_s = 0.2\n')
        fleet.until(lambda: fleet.capabilities, "the capabilities arrive")
        fleet.acknowledges = False
        terminal.apply_fault("paper_out")
        agent = site.agents[0][0]
        fleet.until(lambda: open_faults(agent), "the agent sees the fault")
        terminal.clear_fault()
        fleet.until(lambda: not open_faults(agent), "the agent sees its clearing")
        fleet.acknowledges = True
        site.stop_agents()
        site.start_agent(f'[host]\nkind = "terminal"\nsocket = "{socket}"\npoll_s = 0.2\n')
        fleet.until(lambda: fleet.bodies(FaultCleared) and told_open(fleet) == [], "each clearing arrives")
        site.stop_agents()


def told_open(fleet: FleetSide) -> list[str]:
    """Faults that were raised and not cleared, by what was told."""
    cleared = {(one.code, one.raised_ms) for one in fleet.bodies(FaultCleared)}
    return [one.code for one in fleet.bodies(FaultRaised) if (one.code, one.first_seen_ms) not in cleared]


def open_faults(agent: object) -> list[str]:
    watches = agent.runner.core.watches.values()  # type: ignore[attr-defined]  # an Agent; only looked at
    return [code for watch in watches for code in watch.faults.open_faults()]


def test_broker_that_is_killed_and_forgets_everything_is_found_again(own_broker: Broker, tmp_path: Path) -> None:
    keys = Keys()
    fleet = FleetSide(own_broker, "gw-broker-dies", keys, "svc-fleet-1")
    site = Site(tmp_path / "agent", own_broker, keys, fleet, "gw-broker-dies")
    try:
        with running_agent(site.config('[host]\nkind = "none"\n')):
            fleet.until(lambda: fleet.capabilities, "the capabilities arrive")
            own_broker.restart(kill=True)
            fleet.until(lambda: len({hello.session for hello in fleet.hellos}) >= 2, "the agent comes back")
            command = fleet.check("test.quick")
            fleet.send(command)
            fleet.until(lambda: "SUCCEEDED" in fleet.states(command.execution), "the check ends")
    finally:
        fleet.stop()


def test_killed_agent_is_told_by_its_will_and_the_next_one_has_another_session(
    make_site: Callable[[str], Site],
) -> None:
    site = make_site("gw-agent-killed")
    fleet = site.fleet
    config = site.config('[host]\nkind = "none"\n')
    with running_agent(config):
        fleet.until(lambda: fleet.hellos, "the hello arrives")
    killed_at = time.monotonic()
    offline = fleet.until(lambda: [one for one in fleet.presences if one.status is PresenceStatus.OFFLINE], "the will")
    assert time.monotonic() - killed_at < 15
    assert (offline[0].reason, offline[0].session) == ("connection lost", fleet.hellos[0].session)
    with running_agent(config):
        fleet.until(lambda: fleet.hellos[-1].session != fleet.hellos[0].session, "another session")
        assert fleet.hellos[-1].boot == fleet.hellos[0].boot
