"""Faults that a fix mends, or does not, and the proof of it."""

from __future__ import annotations

import pytest

from tests.acceptance.demo_client import Demo

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize(
    ("key", "fault", "fix"),
    [
        ("esign1", "app_dead", "app.restart"),
        ("esign1", "queue_stuck", "queue.send"),
        ("smart1", "storage_log_growth", "logs.purge"),
        ("smart1", "clock_drift", "clock.sync"),
        ("esign1", "registration_lost", "modem.reregister"),
    ],
)
def test_fix_mends_the_fault_and_is_proved_by_its_post_check(demo: Demo, key: str, fault: str, fix: str) -> None:
    demo.break_(key, fault)
    demo.until(lambda: demo.about(key)["faults"], f"{fault} to be seen on {key}")
    answer = demo.run(key, fix)
    assert (answer["state"], answer["verdict"]) == ("SUCCEEDED", "pass"), answer
    phases = {
        e["data"]["phase"]: e["data"]["outcome"]
        for e in demo.timeline(key, "verdict")
        if e["execution"] == answer["id"]
    }
    assert phases["post_check"] == "pass"
    states = [e["data"]["state"] for e in demo.timeline(key, "execution") if e["execution"] == answer["id"]]
    assert {"STORED", "RUNNING", "VERIFYING", "SUCCEEDED"} <= set(states)
    demo.until_no_fault(key)


@pytest.mark.parametrize(("fault", "code"), [("sign_in_expired", "zvt.6B"), ("param_outdated", "zvt.51")])
def test_initialising_runs_when_it_is_needed_and_ends_the_fault(demo: Demo, fault: str, code: str) -> None:
    demo.break_("zvt1", fault)
    found = demo.run("zvt1", "zvt.diagnosis")
    assert (found["state"], found["verdict"]) == ("SUCCEEDED", "fail")
    demo.until_open("zvt1", code)
    answer = demo.run("zvt1", "zvt.initialise")
    assert (answer["state"], answer["verdict"]) == ("SUCCEEDED", "pass"), answer
    demo.until_no_fault("zvt1")
    again = demo.run("zvt1", "zvt.initialise")
    assert (again["state"], again["code"]) == ("FAILED", "not_needed")


def test_fix_that_does_not_help_is_no_success(demo: Demo) -> None:
    demo.break_("modem1", "sim_dead")
    demo.until_open("modem1", "cme.13")
    answer = demo.run("modem1", "modem.reregister")
    assert answer["state"] == "FAILED", answer
    assert demo.open_codes("modem1")


def test_fix_that_is_not_needed_changes_nothing(demo: Demo) -> None:
    answer = demo.run("esign1", "app.restart")
    assert (answer["state"], answer["code"]) == ("FAILED", "not_needed")


def test_fault_that_returns_after_the_proof_is_told_and_the_fix_is_no_longer_called_fixed(
    forgetful_esign: Demo,
) -> None:
    demo = forgetful_esign
    demo.break_("esign1", "app_dead")
    demo.until_open("esign1", "agent.APP_DEAD")
    answer = demo.run("esign1", "app.restart")
    assert (answer["state"], answer["result"]) == ("SUCCEEDED", "fixed"), answer
    demo.until_no_fault("esign1")
    demo.break_("esign1", "app_dead")
    demo.until(lambda: demo.execution(answer["id"])["result"] == "came_back", "the return to be told")
    told = demo.execution(answer["id"])
    assert (told["state"], told["verdict"]) == ("SUCCEEDED", "pass")
    assert told["came_back_at"] > told["finished_at"]
    events = [e for e in demo.timeline("esign1", "execution") if e["execution"] == answer["id"]]
    assert [e["data"]["state"] for e in events if e["data"].get("came_back")] == ["SUCCEEDED"]
