"""What a support desk does all day, through the HTTP door of a running demo."""

from __future__ import annotations

import pytest

from tests.acceptance.demo_client import Demo

pytestmark = pytest.mark.acceptance


def actions(demo: Demo, key: str, kind: str) -> dict[str, dict[str, object]]:
    return {action["name"]: action for action in demo.about(key)["capabilities"][kind]}


def test_each_device_declares_what_can_be_checked_and_fixed_on_it(demo: Demo) -> None:
    assert "printer.status" in actions(demo, "prn1", "checks")
    assert "printer.print_test" in actions(demo, "prn1", "tests")
    assert "zvt.diagnosis" in actions(demo, "zvt1", "checks")
    assert "modem.reregister" in actions(demo, "modem1", "fixes")
    assert {"app.restart", "queue.send", "logs.purge", "clock.sync", "config.apply", "device.reboot"} <= actions(
        demo, "esign1", "fixes"
    ).keys()
    assert actions(demo, "esign1", "fixes")["app.restart"]["post_check"] == "app.alive"


@pytest.mark.parametrize(
    ("key", "action"),
    [
        ("gw1", "storage.read"),
        ("gw1", "net.path"),
        ("zvt1", "zvt.status"),
        ("zvt1", "zvt.diagnosis"),
        ("prn1", "printer.status"),
        ("prn1", "line.statistics"),
        ("modem1", "modem.signal"),
        ("esign1", "app.alive"),
        ("esign1", "cert.expiry"),
        ("smart1", "device.full_check"),
        ("smart1", "app.log_tail"),
    ],
)
def test_check_on_a_well_device_passes(demo: Demo, key: str, action: str) -> None:
    answer = demo.run(key, action)
    assert (answer["state"], answer["verdict"]) == ("SUCCEEDED", "pass"), answer


def test_check_finds_what_is_wrong_and_says_so_in_the_timeline(demo: Demo) -> None:
    demo.break_("prn1", "paper_out")
    answer = demo.run("prn1", "printer.status")
    assert (answer["state"], answer["verdict"]) == ("SUCCEEDED", "fail")
    verdicts = [event["data"] for event in demo.timeline("prn1", "verdict") if event["execution"] == answer["id"]]
    assert "escpos.eot4.paper_end" in {code for verdict in verdicts for code in verdict["codes"]}


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
    demo.until(lambda: not demo.about(key)["faults"], "the fault to be gone from the page")


@pytest.mark.parametrize(("fault", "code"), [("sign_in_expired", "zvt.6B"), ("param_outdated", "zvt.51")])
def test_initialising_runs_when_it_is_needed_and_ends_the_fault(demo: Demo, fault: str, code: str) -> None:
    demo.break_("zvt1", fault)
    found = demo.run("zvt1", "zvt.diagnosis")
    assert (found["state"], found["verdict"]) == ("SUCCEEDED", "fail")
    demo.until(lambda: code in demo.open_codes("zvt1"), f"{code} to be open")
    answer = demo.run("zvt1", "zvt.initialise")
    assert (answer["state"], answer["verdict"]) == ("SUCCEEDED", "pass"), answer
    demo.until(lambda: not demo.open_codes("zvt1"), "the fault to be gone")
    again = demo.run("zvt1", "zvt.initialise")
    assert (again["state"], again["code"]) == ("FAILED", "not_needed")


def test_fix_that_does_not_help_is_no_success(demo: Demo) -> None:
    demo.break_("modem1", "sim_dead")
    demo.until(lambda: "cme.13" in demo.open_codes("modem1"), "the dead SIM to be seen")
    answer = demo.run("modem1", "modem.reregister")
    assert answer["state"] == "FAILED", answer
    assert demo.open_codes("modem1")


def test_fix_that_is_not_needed_changes_nothing(demo: Demo) -> None:
    answer = demo.run("esign1", "app.restart")
    assert (answer["state"], answer["code"]) == ("FAILED", "not_needed")


def receipt_copies(demo: Demo) -> str:
    read = demo.run("smart1", "config.read")
    values = {
        event["data"]["item"]: event["data"]["value"]
        for event in demo.timeline("smart1", "verdict")
        if event["execution"] == read["id"]
    }
    return str(values["receipt_copies"])


def test_configuration_value_is_applied_and_read_back(demo: Demo) -> None:
    before = receipt_copies(demo)
    for wanted in ("3" if before != "3" else "4", before):
        answer = demo.run("smart1", "config.apply", {"name": "receipt_copies", "value": wanted})
        assert answer["state"] == "SUCCEEDED", answer
        assert receipt_copies(demo) == wanted


def test_reboot_happens_once_and_outlives_the_agent(demo: Demo) -> None:
    demo.break_("smart1", "memory_leak")
    demo.until(lambda: demo.about("smart1")["faults"], "the leak to be seen", 60.0)
    answer = demo.run("smart1", "device.reboot", within_s=150.0)
    assert (answer["state"], answer["verdict"]) == ("SUCCEEDED", "pass"), answer
    states = [e["data"]["state"] for e in demo.timeline("smart1", "execution") if e["execution"] == answer["id"]]
    assert states.count(answer["state"]) == 1


def test_request_to_an_absent_terminal_waits_with_its_expiry_and_runs_when_it_is_back(demo: Demo) -> None:
    demo.break_("esign1", "agent_killed")
    demo.until(lambda: demo.about("esign1")["presence"] != "online", "esign1 to be missed")
    waits = demo.request("esign1", "app.alive")
    given_up = demo.request("esign1", "clock.read")
    assert waits["state"] == "QUEUED"
    assert waits["queued_until"]
    assert demo.call("POST", f"/api/v1/executions/{given_up['id']}/cancel").body["state"] == "CANCELLED"
    demo.mend("esign1")
    demo.until(lambda: demo.execution(waits["id"])["state"] == "SUCCEEDED", "the waiting check to run")
    assert demo.execution(given_up["id"])["state"] == "CANCELLED"


def test_parameters_outside_the_declared_schema_are_refused_in_words(demo: Demo) -> None:
    body = {"device": demo.device("smart1"), "action": "config.apply", "params": {"name": "nonsense", "value": "1"}}
    answer = demo.call("POST", "/api/v1/executions", body)
    assert answer.status == 422
    assert "expected one of" in answer.body["detail"]
    unknown = demo.call("POST", "/api/v1/executions", body | {"action": "rm.everything"})
    assert unknown.status in {404, 422}
    assert unknown.body["code"]
