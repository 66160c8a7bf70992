"""Processes die at any moment; what agents have said is neither lost nor told twice."""

from __future__ import annotations

import pytest

from tests.acceptance.demo_client import FINAL, Demo

pytestmark = pytest.mark.acceptance


def raised(demo: Demo, key: str, code: str) -> int:
    return sum(event["data"]["code"] == code for event in demo.timeline(key, "fault_raised"))


@pytest.mark.parametrize("victim", [("fleet_server", "ingest"), ("mosquitto",)], ids=["ingest", "broker"])
def test_fault_during_the_death_of_a_process_is_told_once(demo: Demo, victim: tuple[str, ...]) -> None:
    before = raised(demo, "prn1", "escpos.eot3.cutter")
    assert demo.kill(*victim)
    demo.break_("prn1", "cutter_jam")
    demo.until_open("prn1", "escpos.eot3.cutter", 60.0)
    assert raised(demo, "prn1", "escpos.eot3.cutter") == before + 1


def test_api_comes_back_by_itself_and_remembers(demo: Demo) -> None:
    answer = demo.run("esign1", "agent.echo")
    assert demo.kill("fleet_server", "api")
    demo.until(lambda: ready_status(demo), "the API to be back", 60.0, is_so=lambda status: status == 200)
    assert demo.execution(answer["id"])["state"] == "SUCCEEDED"


def test_check_asked_while_ingest_is_dead_still_ends(demo: Demo) -> None:
    assert demo.kill("fleet_server", "ingest")
    asked = demo.request("esign1", "app.alive")
    demo.until_state(asked["id"], "SUCCEEDED", within_s=90.0)


def test_agent_killed_in_the_middle_of_a_fix_goes_on_or_says_that_it_does_not_know(demo: Demo) -> None:
    demo.break_("smart1", "app_dead")
    demo.until_open("smart1", "agent.APP_DEAD")
    asked = demo.request("smart1", "app.restart")
    demo.until_state(asked["id"], "RUNNING", "VERIFYING", "SUCCEEDED")
    demo.break_("smart1", "agent_killed")
    demo.mend("smart1", "agent_killed")
    ended = demo.until_state(asked["id"], *FINAL, within_s=90.0)
    assert ended["state"] in {"SUCCEEDED", "UNKNOWN"}, ended
    states = [e["data"]["state"] for e in demo.timeline("smart1", "execution") if e["execution"] == asked["id"]]
    assert [state for state in states if state in FINAL] == [ended["state"]]


def ready_status(demo: Demo) -> int | str:
    """What the API answers to whether it is ready, or why it does not answer."""
    try:
        return demo.call("GET", "/readyz").status
    except OSError as error:
        return str(error)
