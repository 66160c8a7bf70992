from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.core.sampler import METERED_METRICS, OUT_OF_TURN_S, Pace, Sampler
from protocol import codec
from protocol.catalogue.normal_range import AtMost, NormalRange, OneOf
from protocol.catalogue.sides import Side, follow
from protocol.records import MAX_STEPS, HealthColumns, Sample
from protocol.session import Profile
from tests.device_agent.core.rig import Clock

DEMO = Pace(Profile.DEMO, 1.0, 5.0)


RANGES: dict[str, NormalRange] = {"sys.temp_c": AtMost(80), "prn.status": OneOf(("ok",))}


def is_hot(name: str, before: Side | None, value: Sample, at_ms: int) -> Side | None:
    normal = RANGES.get(name)
    return None if normal is None else follow(before, normal, value, at_ms)


def test_first_look_at_a_device_is_reported_at_once() -> None:
    sampler = Sampler(DEMO, is_hot)
    (report,) = sampler.on_readings({"sys.temp_c": 40}, Clock(100).now)
    assert (report.steps, report.columns) == (1, {"sys.temp_c": [40]})


def test_samples_are_collected_in_columns_until_the_report_is_due() -> None:
    sampler, clock = Sampler(DEMO, is_hot), Clock(100)
    sampler.on_readings({"sys.temp_c": 40}, clock.now)
    reports: list[HealthColumns] = []
    for number in range(5):
        sampler.on_readings({"sys.temp_c": 41 + number}, clock.pass_s(1))
        reports += sampler.on_tick(clock.now)
    (report,) = reports
    assert report.columns == {"sys.temp_c": [41, 42, 43, 44, 45]}
    assert (report.steps, report.step_ms) == (5, 1000)


def test_value_that_leaves_its_range_is_reported_at_once_but_not_more_often_than_each_5_s() -> None:
    sampler, clock = Sampler(Pace(Profile.METERED, 60, 1800), is_hot), Clock(100)
    sampler.on_readings({"sys.temp_c": 40}, clock.now)
    assert len(sampler.on_readings({"sys.temp_c": 95}, clock.pass_s(1))) == 1
    assert sampler.on_readings({"sys.temp_c": 95, "prn.status": "paper_out"}, clock.pass_s(1)) == []
    assert len(sampler.on_readings({"sys.temp_c": 95, "prn.status": "paper_out"}, clock.pass_s(OUT_OF_TURN_S))) == 1


def test_value_that_swings_across_its_limit_turns_no_metered_link_into_a_live_one() -> None:
    sampler, clock = Sampler(Pace(Profile.METERED, 60, 1800), is_hot), Clock(100)
    sampler.on_readings({"sys.temp_c": 40}, clock.now)
    told = sum(len(sampler.on_readings({"sys.temp_c": 95 - 55 * (n % 2)}, clock.pass_s(7))) for n in range(200))
    assert told == 1
    back = [len(sampler.on_readings({"sys.temp_c": 40}, clock.pass_s(5))) for _ in range(10)]
    assert sum(back) == 1, "and its coming back for good is told too"


def test_what_was_not_measured_is_null_and_not_zero() -> None:
    sampler, clock = Sampler(DEMO, is_hot), Clock(100)
    sampler.on_readings({"a.b": 1}, clock.now)
    sampler.on_readings({"a.b": 1}, clock.pass_s(1))
    sampler.on_tick(clock.now)
    sampler.on_readings({"c.d": 2}, clock.pass_s(1))
    sampler.on_tick(clock.now)
    (report,) = sampler.on_tick(clock.pass_s(3))
    assert report.columns == {"a.b": [1, None, None], "c.d": [None, 2, 2]}


def test_metered_link_reports_few_metrics_the_abnormal_ones_first() -> None:
    sampler = Sampler(Pace(Profile.METERED, 60, 1800), is_hot)
    readings: dict[str, Sample] = {f"a.metric_{number:02}": number for number in range(40)}
    (report,) = sampler.on_readings({**readings, "sys.temp_c": 99}, Clock(5).now)
    assert len(report.columns) == METERED_METRICS
    assert "sys.temp_c" in report.columns
    assert sampler.left_out == 41 - METERED_METRICS


def test_nothing_that_json_cannot_say_gets_into_a_column() -> None:
    (report,) = Sampler(DEMO, is_hot).on_readings({"a.b": float("nan"), "c.d": True, "e.f": "x" * 99}, Clock(5).now)
    assert report.columns == {"a.b": [None], "c.d": [1], "e.f": ["x" * 64]}


VALUES = st.one_of(st.none(), st.integers(-5, 200), st.floats(), st.text(max_size=80), st.booleans())
READINGS = st.dictionaries(st.sampled_from(["a.b", "c.d", "sys.temp_c"]), VALUES)


@settings(max_examples=40)
@given(st.lists(st.tuples(READINGS, st.sampled_from([0.4, 1.0, 7.0])), max_size=40))
def test_every_report_fits_the_protocol_whatever_is_read(looks: list[tuple[dict[str, Sample], float]]) -> None:
    sampler, clock = Sampler(DEMO, is_hot), Clock(1)
    for readings, seconds in looks:
        for report in sampler.on_readings(readings, clock.pass_s(seconds)) + sampler.on_tick(clock.now):
            assert isinstance(codec.from_json(codec.to_json(report), HealthColumns), HealthColumns)
            assert {len(column) for column in report.columns.values()} == {report.steps}
            assert report.steps <= MAX_STEPS
