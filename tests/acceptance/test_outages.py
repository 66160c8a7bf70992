"""Processes die at any moment; what agents have said is neither lost nor told twice."""

from __future__ import annotations

import pytest

from tests.acceptance.demo_client import Demo

pytestmark = pytest.mark.acceptance


def raised(demo: Demo, key: str, code: str) -> int:
    return sum(event["data"]["code"] == code for event in demo.timeline(key, "fault_raised"))


@pytest.mark.parametrize("victim", [("fleet_server", "ingest"), ("mosquitto",)], ids=["ingest", "broker"])
def test_fault_during_the_death_of_a_process_is_told_once(demo: Demo, victim: tuple[str, ...]) -> None:
    before = raised(demo, "prn1", "escpos.eot3.cutter")
    assert demo.kill(*victim)
    demo.break_("prn1", "cutter_jam")
    demo.until(lambda: "escpos.eot3.cutter" in demo.open_codes("prn1"), "the fault after the restart", 60.0)
    assert raised(demo, "prn1", "escpos.eot3.cutter") == before + 1


def test_api_comes_back_by_itself_and_remembers(demo: Demo) -> None:
    answer = demo.run("esign1", "agent.echo")
    assert demo.kill("fleet_server", "api")
    demo.until(lambda: is_up(demo), "the API to be back", 60.0)
    assert demo.execution(answer["id"])["state"] == "SUCCEEDED"


def test_check_asked_while_ingest_is_dead_still_ends(demo: Demo) -> None:
    assert demo.kill("fleet_server", "ingest")
    asked = demo.request("esign1", "app.alive")
    demo.until(lambda: demo.execution(asked["id"])["state"] == "SUCCEEDED", "the check to end", 90.0)


def test_agent_killed_in_the_middle_of_a_fix_goes_on_or_says_that_it_does_not_know(demo: Demo) -> None:
    demo.break_("smart1", "app_dead")
    demo.until(lambda: "agent.APP_DEAD" in demo.open_codes("smart1"), "the dead application")
    asked = demo.request("smart1", "app.restart")
    demo.until(lambda: demo.execution(asked["id"])["state"] in {"RUNNING", "VERIFYING", "SUCCEEDED"}, "the fix to run")
    demo.break_("smart1", "agent_killed")
    demo.mend("smart1", "agent_killed")
    demo.until(lambda: demo.execution(asked["id"])["state"] in {"SUCCEEDED", "UNKNOWN"}, "the fix to end", 90.0)


def is_up(demo: Demo) -> bool:
    try:
        return demo.call("GET", "/readyz").status == 200
    except OSError:
        return False
