"""Something breaks and is mended; the server knows within seconds, and nothing that happened is missing."""

from __future__ import annotations

import pytest

from tests.acceptance.demo_client import Demo

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize(
    ("key", "fault", "code"),
    [
        ("prn1", "head_overheat", "escpos.eot3.auto_recoverable"),
        ("prn1", "mechanical_jam", "escpos.eot3.mechanical"),
        ("zvt1", "cable_out", "agent.LINE_SILENT"),
        ("modem1", "sim_dead", "cme.13"),
        ("smart1", "app_dead", "agent.APP_DEAD"),
        ("smart1", "paper_out", "term.PRN_NO_PAPER"),
    ],
)
def test_fault_is_shown_and_its_clearing_too(demo: Demo, key: str, fault: str, code: str) -> None:
    demo.break_(key, fault)
    demo.until(lambda: code in demo.open_codes(key), f"{code} on {key}, open are {demo.open_codes(key)}")
    demo.mend(key, fault)
    demo.until(lambda: code not in demo.open_codes(key), f"{code} to be cleared")
    kinds = [event["type"] for event in demo.timeline(key) if event["data"].get("code") == code]
    assert {"fault_raised", "fault_cleared"} <= set(kinds)


def test_loss_of_the_link_is_noticed_within_one_and_a_half_keepalives(demo: Demo) -> None:
    demo.break_("smart1", "link_down")
    noticed_s = demo.until(lambda: demo.about("smart1")["presence"] != "online", "smart1 to be missed")
    # Demo profile: keepalive 10 s; a second for the broker's own clock and ours.
    assert noticed_s < 1.5 * 10 + 5
    assert demo.about("smart1")["condition"] == "silent"


def test_what_happens_during_an_outage_is_in_the_timeline_afterwards(demo: Demo) -> None:
    before = {event["id"] for event in demo.timeline("smart1")}
    demo.break_("smart1", "link_down")
    demo.until(lambda: demo.about("smart1")["presence"] != "online", "smart1 to be missed")
    demo.break_("smart1", "paper_out")
    demo.until(lambda: True, "nothing", 1.0)
    demo.mend("smart1", "link_down")
    demo.until(lambda: "term.PRN_NO_PAPER" in demo.open_codes("smart1"), "the fault of the outage", 60.0)
    missed = [event for event in demo.timeline("smart1") if event["id"] not in before]
    raised = [event for event in missed if event["type"] == "fault_raised"]
    assert any(event["data"]["code"] == "term.PRN_NO_PAPER" for event in raised)


def test_attached_devices_of_a_dead_gateway_raise_no_alarm_of_their_own(demo: Demo) -> None:
    demo.break_("gw1", "agent_killed")
    demo.until(lambda: demo.about("gw1")["presence"] != "online", "gw1 to be missed")
    demo.until(lambda: demo.about("prn1")["presence"] == "unknown", "prn1 to be not known")
    assert demo.about("prn1")["faults"] == []
