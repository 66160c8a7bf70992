"""Something breaks and is mended; the server knows within seconds, and nothing that happened is missing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.acceptance.demo_client import Demo, run_command

pytestmark = pytest.mark.acceptance
PAPER_OUT = "term.PRN_NO_PAPER"


@pytest.mark.parametrize(
    ("key", "fault", "code"),
    [
        ("prn1", "head_overheat", "escpos.eot3.auto_recoverable"),
        ("prn1", "mechanical_jam", "escpos.eot3.mechanical"),
        ("zvt1", "cable_out", "agent.LINE_SILENT"),
        ("modem1", "sim_dead", "cme.13"),
        ("smart1", "app_dead", "agent.APP_DEAD"),
        ("smart1", "paper_out", PAPER_OUT),
    ],
)
def test_fault_is_shown_and_its_clearing_too(demo: Demo, key: str, fault: str, code: str) -> None:
    demo.break_(key, fault)
    demo.until_open(key, code)
    demo.mend(key, fault)
    demo.until_no_fault(key)
    kinds = [event["type"] for event in demo.timeline(key) if event["data"].get("code") == code]
    assert {"fault_raised", "fault_cleared"} <= set(kinds)


def test_loss_of_the_link_is_noticed_within_one_and_a_half_keepalives(demo: Demo) -> None:
    demo.break_("smart1", "link_down")
    noticed_s = demo.until_missed("smart1")
    # Demo profile: keepalive 10 s; a second for the broker's own clock and ours.
    assert noticed_s < 1.5 * 10 + 5
    assert demo.about("smart1")["condition"] == "silent"


def test_what_happens_during_an_outage_is_in_the_timeline_afterwards(demo: Demo) -> None:
    before = {event["id"] for event in demo.timeline("smart1")}
    demo.break_("smart1", "link_down")
    demo.until_missed("smart1")
    demo.break_("smart1", "paper_out")
    demo.until(
        lambda: own_status(demo, "smart1"), "its agent to see the paper out", is_so=lambda said: PAPER_OUT in said
    )
    assert PAPER_OUT not in demo.open_codes("smart1")
    mended_at = datetime.now(UTC)
    demo.mend("smart1", "link_down")
    demo.until_open("smart1", PAPER_OUT, 60.0)
    missed = [event for event in demo.timeline("smart1", "fault_raised") if event["id"] not in before]
    (raised,) = [event for event in missed if event["data"]["code"] == PAPER_OUT]
    assert datetime.fromisoformat(raised["at"]) < mended_at


def own_status(demo: Demo, key: str) -> str:
    """What the agent says on its own machine."""
    configuration = demo.data / "agents" / key / "agent.toml"
    return run_command("device_agent", "status", "--config", str(configuration), "--json").stdout


def test_attached_devices_of_a_dead_gateway_raise_no_alarm_of_their_own(demo: Demo) -> None:
    demo.break_("gw1", "agent_killed")
    demo.until_missed("gw1")
    demo.until(
        lambda: demo.about("prn1")["presence"], "prn1 to be not known", is_so=lambda presence: presence == "unknown"
    )
    assert demo.about("prn1")["faults"] == []
