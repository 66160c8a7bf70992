"""What a support desk asks all day, through the HTTP door of a running demo."""

from __future__ import annotations

import pytest

from protocol.catalogue.vocabulary import TerminalClass
from simulators.terminal_models import MODELS
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


def test_the_firmware_that_a_device_tells_of_itself_is_known(demo: Demo) -> None:
    expected = {
        "esign1": MODELS[TerminalClass.E_SIGN].firmware,
        "smart1": MODELS[TerminalClass.SMART].firmware,
        "zvt1": "TM-SIM 2.4.1",
    }
    demo.until(
        lambda: {key: demo.about(key)["firmware"] for key in expected}, "firmware", is_so=lambda of: of == expected
    )
    listed = {device["id"]: device["firmware"] for device in demo.get("/api/v1/devices?limit=200")["items"]}
    assert {key: listed[demo.device(key)] for key in expected} == expected


@pytest.mark.parametrize(
    ("key", "action"),
    [
        ("gw1", "storage.read"),
        ("gw1", "net.path"),
        ("zvt1", "zvt.status"),
        ("zvt1", "zvt.diagnosis"),
        ("prn1", "printer.status"),
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


def test_statistics_of_a_line_tell_how_its_last_exchanges_went(demo: Demo) -> None:
    """A busy machine may answer late: what is counted decides, three late answers among few are worth a warning."""
    answer = demo.run("prn1", "line.statistics")
    assert answer["state"] == "SUCCEEDED", answer
    told = [event["data"] for event in demo.timeline("prn1", "verdict") if event["execution"] == answer["id"]]
    by_item = {one["item"]: one for one in told}
    rates = ("serial.crc_err_pct", "serial.timeout_pct", "serial.nak_pct")
    assert set(by_item) == {*rates, "frames"}, told
    assert by_item["frames"]["value"] > 0
    judged = [by_item[name] for name in rates if by_item[name].get("value") is not None]
    is_well = all(one["value"] <= one["limits"]["high"] for one in judged)
    assert (answer["verdict"] == "pass") is is_well, told


def test_check_finds_what_is_wrong_and_says_so_in_the_timeline(demo: Demo) -> None:
    demo.break_("prn1", "paper_out")
    answer = demo.run("prn1", "printer.status")
    assert (answer["state"], answer["verdict"]) == ("SUCCEEDED", "fail")
    verdicts = [event["data"] for event in demo.timeline("prn1", "verdict") if event["execution"] == answer["id"]]
    assert "escpos.eot4.paper_end" in {code for verdict in verdicts for code in verdict["codes"]}


def test_request_to_an_absent_terminal_waits_with_its_expiry_and_runs_when_it_is_back(demo: Demo) -> None:
    demo.break_("esign1", "agent_killed")
    demo.until_missed("esign1")
    waits = demo.request("esign1", "app.alive")
    given_up = demo.request("esign1", "clock.read")
    assert waits["state"] == "QUEUED"
    assert waits["queued_until"]
    assert demo.call("POST", f"/api/v1/executions/{given_up['id']}/cancel").body["state"] == "CANCELLED"
    demo.mend("esign1")
    demo.until_state(waits["id"], "SUCCEEDED")
    assert demo.execution(given_up["id"])["state"] == "CANCELLED"


def test_parameters_outside_the_declared_schema_are_refused_in_words(demo: Demo) -> None:
    body = {"device": demo.device("smart1"), "action": "config.apply", "params": {"name": "nonsense", "value": "1"}}
    answer = demo.call("POST", "/api/v1/executions", body)
    assert answer.status == 422
    assert "expected one of" in answer.body["detail"]
    unknown = demo.call("POST", "/api/v1/executions", body | {"action": "rm.everything"})
    assert unknown.status in {404, 422}
    assert unknown.body["code"]
