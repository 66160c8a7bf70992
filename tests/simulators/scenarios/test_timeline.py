from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulators.scenarios.scenario_file import (
    RandomFaults,
    Scenario,
    ScenarioDevice,
    ScenarioEvent,
    Title,
    known_scenarios,
    read_scenario,
)
from simulators.scenarios.timeline import Act, timeline_of


def scenario(*events: ScenarioEvent, random: RandomFaults | None = None) -> Scenario:
    device = ScenarioDevice("prn1", "escpos")
    return Scenario(Title("一", "one"), 1, 100, [device], events=list(events), random=[random] if random else [])


def test_events_come_in_the_order_of_their_moments() -> None:
    late = ScenarioEvent(50, "prn1", mend="paper_out")
    early = ScenarioEvent(10, "prn1", break_="paper_out", shows=["escpos.eot4.paper_end"])
    happenings = timeline_of(scenario(late, early), seed=1)
    assert [(one.at_s, one.act, one.fault) for one in happenings] == [
        (10, Act.BREAK, "paper_out"),
        (50, Act.MEND, "paper_out"),
    ]
    assert happenings[0].shows == ("escpos.eot4.paper_end",)


@given(st.integers(0, 2**31), st.integers(1, 20))
def test_random_faults_fall_where_the_file_allows_and_are_all_mended(seed: int, count: int) -> None:
    random = RandomFaults("prn1", ["paper_out", "cover_open"], count, (20, 60), (5, 90))
    happenings = timeline_of(scenario(random=random), seed)
    broken = [one for one in happenings if one.act is Act.BREAK]
    mended = [one for one in happenings if one.act is Act.MEND]
    assert len(broken) == len(mended) == count
    assert all(20 <= one.at_s <= 60 for one in broken)
    assert all(one.at_s <= 100 for one in mended)
    assert sorted(one.fault for one in broken) == sorted(one.fault for one in mended)


@given(st.integers(0, 2**31), st.sampled_from(known_scenarios()))
def test_equal_seeds_give_equal_days(seed: int, name: str) -> None:
    read = read_scenario(name)
    assert timeline_of(read, seed) == timeline_of(read, seed)


def test_another_seed_gives_another_day() -> None:
    read = read_scenario("holiday_peak")
    assert timeline_of(read, 1) != timeline_of(read, 2)
