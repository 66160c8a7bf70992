from __future__ import annotations

import json
import time

import pytest

from simulators.errors import FaultUnknown
from simulators.scenarios.play import Pace, play_recorded
from simulators.scenarios.scenario_file import Scenario, ScenarioDevice, ScenarioEvent, Title, read_scenario
from simulators.scenarios.story import Story, clock_text

FAMILIES = [
    ("escpos", "paper_out", "escpos.eot4.paper_end"),
    ("zvt", "reader_dead", "zvt.E2"),
    ("modem", "sim_dead", "cme.13"),
    ("e_sign", "clock_drift", "term.CLOCK_INVALID"),
    ("smart", "paper_out", "term.PRN_NO_PAPER"),
    ("traditional", "storage_log_growth", "term.STORAGE_FULL"),
    ("kiosk", "cover_open", "term.PRN_COVER"),
]


def scenario(
    *events: ScenarioEvent, family: str = "escpos", lasts_s: float = 120, trade_every_s: float = 120
) -> Scenario:
    device = ScenarioDevice("dev1", family, trade_every_s)
    return Scenario(Title("一", "one"), 1, lasts_s, [device], poll_s=1, events=list(events))


def lines_of(played: Scenario, seed: int = 1) -> tuple[list[dict[str, object]], list[str]]:
    lines: list[str] = []
    missing = play_recorded(played, seed, Story(lines.append, as_json=True))
    return [json.loads(line) for line in lines], missing


def told(lines: list[dict[str, object]], kind: str) -> list[tuple[object, object]]:
    return [(line["at_s"], line.get("code")) for line in lines if line["type"] == kind]


@pytest.mark.parametrize(("family", "fault", "code"), FAMILIES)
def test_a_fault_of_each_family_is_reported_soon_after_it_and_ends_with_it(family: str, fault: str, code: str) -> None:
    broken = ScenarioEvent(30, "dev1", break_=fault, shows=[code])
    mended = ScenarioEvent(70, "dev1", mend=fault)
    lines, missing = lines_of(scenario(broken, mended, family=family))
    assert missing == []
    [raised_at_s] = [at_s for at_s, of in told(lines, "fault_raised") if of == code]
    [cleared_at_s] = [at_s for at_s, of in told(lines, "fault_cleared") if of == code]
    assert isinstance(raised_at_s, float | int)
    assert isinstance(cleared_at_s, float | int)
    assert 30 <= raised_at_s <= 45
    assert 70 <= cleared_at_s <= 85


def test_a_device_that_is_well_has_no_fault() -> None:
    for family, _, _ in FAMILIES:
        lines, _ = lines_of(scenario(family=family, lasts_s=300))
        assert told(lines, "fault_raised") == []


def test_equal_seeds_are_told_equally() -> None:
    broken = ScenarioEvent(30, "dev1", break_="serial_loose")
    first, _ = lines_of(scenario(broken, family="zvt"), seed=7)
    second, _ = lines_of(scenario(broken, family="zvt"), seed=7)
    assert _without_time(first) == _without_time(second)


def _without_time(lines: list[dict[str, object]]) -> list[dict[str, object]]:
    return [line for line in lines if line["type"] != "done"]


def test_a_promise_that_is_not_kept_is_told_and_answered() -> None:
    broken = ScenarioEvent(30, "dev1", break_="paper_near", shows=["escpos.eot4.paper_end"])
    lines, missing = lines_of(scenario(broken))
    assert len(missing) == 1
    assert "escpos.eot4.paper_end was not reported after paper_near at 00:00:30" in missing[0]
    assert [line["type"] for line in lines][-2:] == ["missing", "done"]


def test_a_raising_before_the_happening_keeps_no_promise() -> None:
    before = ScenarioEvent(10, "dev1", break_="paper_out")
    after = ScenarioEvent(60, "dev1", break_="cover_open", shows=["escpos.eot4.paper_end"])
    _, missing = lines_of(scenario(before, after))
    assert len(missing) == 1


def test_a_cut_cable_is_silence_and_nothing_else() -> None:
    cut = ScenarioEvent(10, "dev1", break_="cable_out", shows=["agent.LINE_SILENT"])
    lines, missing = lines_of(scenario(cut, ScenarioEvent(80, "dev1", mend="cable_out")))
    assert missing == []
    assert {code for _, code in told(lines, "fault_raised")} == {"agent.LINE_SILENT"}


def test_a_reboot_is_a_silence_that_ends_by_itself() -> None:
    lines, missing = lines_of(
        scenario(ScenarioEvent(20, "dev1", reboot=True, shows=["agent.SERVICE_SILENT"]), family="smart")
    )
    assert missing == []
    assert "agent.SERVICE_SILENT" in {code for _, code in told(lines, "fault_cleared")}


def test_what_only_a_demo_has_is_refused_with_what_there_is() -> None:
    with pytest.raises(FaultUnknown, match="clock_drift"):
        lines_of(scenario(ScenarioEvent(1, "dev1", break_="agent_killed"), family="smart"))


@pytest.mark.parametrize("name", ["paper_out", "reboot_loop"])
def test_a_scenario_of_the_product_keeps_its_promises(name: str) -> None:
    lines, missing = lines_of(read_scenario(name))
    assert missing == []
    assert [line["percent"] for line in lines if line["type"] == "progress"] == list(range(10, 101, 10))


def test_a_pace_holds_in_small_steps_and_none_runs_at_once() -> None:
    assert Pace(None, 0.0).steps(0, 3600) == [3600]
    assert Pace(100, 0.0).steps(0, 50) == pytest.approx([20, 40, 50])
    began_s = time.monotonic()
    Pace(1000, began_s).hold(10)
    assert time.monotonic() - began_s >= 0.01


def test_people_read_hours_minutes_and_seconds() -> None:
    assert clock_text(3_661.9) == "01:01:01"
    assert clock_text(100 * 3600) == "100:00:00"
