from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol.executions import ExecutionState
from protocol.records import Outcome
from protocol.session import PresenceStatus
from tests.integration.agent.conftest import Site

pytestmark = pytest.mark.integration

SELF = '[host]\nkind = "terminal"\nsocket = "nobody.sock"\npoll_s = 0.2\n'


def test_agent_greets_until_welcomed_then_reports_and_runs_a_check(make_site: Callable[[str], Site]) -> None:
    site = make_site("gw-first-contact")
    fleet = site.fleet
    site.start_agent(SELF)

    fleet.until(lambda: fleet.capabilities, "the capabilities arrive")
    command = fleet.check("test.quick")
    fleet.send(command)

    fleet.until(lambda: "SUCCEEDED" in fleet.states(command.execution), "the check ends")
    assert fleet.states(command.execution) == ["STORED", "RUNNING", "SUCCEEDED"]
    (verdict,) = fleet.verdicts(command.execution)
    assert verdict.outcome is Outcome.PASS
    assert "4111111111111111" not in verdict.evidence


def test_goodbye_arrives_and_the_will_stays_silent(make_site: Callable[[str], Site]) -> None:
    site = make_site("gw-goodbye-01")
    fleet = site.fleet
    site.start_agent(SELF)
    fleet.until(lambda: fleet.hellos, "the hello arrives")

    site.stop_agents()

    last = fleet.until(
        lambda: [one for one in fleet.presences if one.status is PresenceStatus.OFFLINE], "the goodbye arrives"
    )
    assert [one.reason for one in last] == ["stopped"]


def test_a_command_delivered_again_is_answered_from_the_journal(make_site: Callable[[str], Site]) -> None:
    site = make_site("gw-delivered-again")
    fleet = site.fleet
    site.start_agent(SELF)
    fleet.until(lambda: fleet.capabilities, "the capabilities arrive")
    command = fleet.check("test.quick")
    fleet.send(command)
    fleet.until(lambda: "SUCCEEDED" in fleet.states(command.execution), "the check ends")

    fleet.send(command)

    fleet.until(lambda: fleet.states(command.execution).count("SUCCEEDED") == 2, "the stored state is said again")
    assert len(fleet.verdicts(command.execution)) == 1
    assert ExecutionState.REJECTED not in fleet.states(command.execution)
