from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.catalogue import codes, metrics
from protocol.catalogue.normal_range import Judgement
from protocol.catalogue.vocabulary import TerminalClass
from simulators.load.traffic import FAULT_CODES, METRICS, Traffic, TrafficInvalid, expected

CLASS = TerminalClass.TRADITIONAL


@given(st.integers(0, 400_000), st.integers(0, len(METRICS) - 1), st.integers(0, 2**42))
def test_every_value_is_a_normal_one_so_that_a_quiet_fleet_stays_quiet(device: int, place: int, at_ms: int) -> None:
    metric = metrics.get(METRICS[place][0])
    assert metric is not None
    value = expected(device, place, at_ms, 60_000)
    assert metric.judge(value, CLASS) in {Judgement.IN_RANGE, Judgement.UNKNOWN}


def test_values_change_from_sample_to_sample_and_from_device_to_device() -> None:
    of_one = [expected(7, 0, minute * 60_000, 60_000) for minute in range(100)]
    of_many = [expected(device, 0, 0, 60_000) for device in range(100)]
    for values in (of_one, of_many):
        assert len(set(values)) > 10
        assert sum(a == b for a, b in itertools.pairwise(values)) < 20


def test_fault_codes_are_those_of_the_catalogue() -> None:
    assert all(codes.get(code) is not None for code in FAULT_CODES)


@pytest.mark.parametrize(
    "wish", [{"metrics": 0}, {"metrics": 99}, {"report_s": 10, "sample_s": 60}, {"report_s": 7200, "sample_s": 1}]
)
def test_what_no_report_could_carry_is_refused_in_words(wish: dict[str, float]) -> None:
    with pytest.raises(TrafficInvalid, match="expected"):
        Traffic(**wish)  # type: ignore[arg-type]  # a whole number of metrics among numbers of seconds


def test_the_burst_lasts_as_long_as_it_was_asked_for() -> None:
    traffic = Traffic(burst_factor=10, burst_from_s=100, burst_for_s=50)
    assert [traffic.fault_factor(at_s) for at_s in (0, 99, 100, 149, 150)] == [1, 1, 10, 10, 1]
