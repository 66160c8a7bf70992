from __future__ import annotations

from collections import Counter
from datetime import timedelta

from device_agent.core.instant import Instant
from protocol import codec
from protocol.records import FaultCleared, FaultRaised, HealthColumns, Record
from simulators.load.sayings import MAX_HELD_RECORDS, Sayings, Talker
from simulators.load.traffic import Traffic, expected
from tests.device_agent.core.rig import EPOCH, at

BOOT = "ab" * 16
START_S = 1000.0


def sayings(traffic: Traffic, devices: int = 3, seed: int = 1) -> Sayings:
    talkers = [Talker(f"d-terminal{number:04d}", number) for number in range(devices)]
    made = Sayings(talkers, traffic, BOOT, seed)
    made.begin(at(START_S))
    return made


def test_what_it_says_it_said_is_what_it_said() -> None:
    made = sayings(Traffic(report_s=60, sample_s=10, faults_per_device_hour=0))
    assert len(made.said) == 0
    bodies = [record.body for record in run(made, 600, Counter())]
    moments = {
        body.start_ms + step * body.step_ms
        for body in bodies
        if isinstance(body, HealthColumns)
        for step in range(body.steps)
    }
    assert sorted(moments) == list(made.said)


def run(made: Sayings, seconds: float, counts: Counter[str], held: int = 0) -> list[Record]:
    """Everything it says until then, asked whenever it is due."""
    said: list[Record] = []
    now = at(START_S)
    while (due_ns := made.next_due_ns()) is not None and due_ns <= at(START_S + seconds).monotonic_ns:
        passed = timedelta(microseconds=due_ns // 1000)
        now = Instant(max(due_ns, now.monotonic_ns + 1), EPOCH + passed)
        said += [_record(row) for row in [*made.faults(now, counts), *made.report(now, held, counts)]]
    return said


def _record(row: bytes) -> Record:
    record = codec.from_json(row, Record)
    assert isinstance(record, Record)
    return record


def test_it_is_silent_until_it_begins() -> None:
    made = Sayings([Talker("d-terminal0001", 1)], Traffic(), BOOT, 1)
    assert made.next_due_ns() is None
    assert made.report(at(5000), 0, Counter()) == []


def test_each_sample_is_said_once_and_has_the_value_that_is_expected_of_it() -> None:
    traffic = Traffic(report_s=60, sample_s=10, faults_per_device_hour=0)
    counts = Counter[str]()
    samples: Counter[tuple[str, int]] = Counter()
    for record in run(sayings(traffic), 600, counts):
        body = record.body
        assert isinstance(body, HealthColumns)
        for step in range(body.steps):
            moment_ms = body.start_ms + step * body.step_ms
            samples[record.device, moment_ms] += 1
            number = int(record.device[-4:])
            for place, column in enumerate(body.columns.values()):
                assert column[step] == expected(number, place, moment_ms, traffic.sample_ms)
    assert set(samples.values()) == {1}
    assert all(moment_ms % 10_000 == 0 for _, moment_ms in samples)
    assert counts["points"] == len(samples) * traffic.metrics
    # Ten minutes of six a minute, and of each device the first report over the minute before.
    assert 3 * 60 <= len(samples) <= 3 * 66


def test_links_in_step_report_in_the_same_moment_others_each_in_its_own() -> None:
    together = {sayings(Traffic(in_step=True), seed=seed).next_due_ns() for seed in range(5)}
    apart = {sayings(Traffic(faults_per_device_hour=0), seed=seed).next_due_ns() for seed in range(5)}
    assert (len(together), len(apart)) == (1, 5)


def test_a_link_that_holds_too_much_passes_samples_over_and_counts_them() -> None:
    counts = Counter[str]()
    said = run(sayings(Traffic(faults_per_device_hour=0)), 300, counts, held=MAX_HELD_RECORDS)
    assert (said, counts["points"]) == ([], 0)
    assert counts["samples_passed_over"] >= 3 * 5


def test_every_fault_that_ends_names_the_raising_that_it_ends() -> None:
    counts = Counter[str]()
    raised: dict[str, FaultRaised] = {}
    for record in run(sayings(Traffic(faults_per_device_hour=60)), 3600, counts):
        match record.body:
            case FaultRaised() as body:
                assert record.device not in raised
                raised[record.device] = body
            case FaultCleared() as body:
                begun = raised.pop(record.device)
                assert (body.code, body.raised_ms) == (begun.code, begun.first_seen_ms)
            case HealthColumns():
                pass
            case _:
                raise AssertionError(record.body)
    assert counts["faults_raised"] - counts["faults_cleared"] == len(raised)
    assert counts["faults_raised"] > 30


def test_a_burst_brings_as_many_times_more_faults_as_it_was_asked_for() -> None:
    traffic = Traffic(
        faults_per_device_hour=2, fault_lasts_s=5, burst_factor=10, burst_from_s=3600, burst_for_s=3600, metrics=1
    )
    made, counts = sayings(traffic, devices=100), Counter[str]()
    moments = [record.mono_ms for record in run(made, 7200, counts) if isinstance(record.body, FaultRaised)]
    middle_ms = (START_S + 3600) * 1000
    usual, burst = sum(moment < middle_ms for moment in moments), sum(moment >= middle_ms for moment in moments)
    assert 150 < usual < 250
    assert 8 < burst / usual < 12


def test_a_link_that_falls_silent_says_nothing_new() -> None:
    made = sayings(Traffic(faults_per_device_hour=60))
    made.silence()
    assert made.next_due_ns() is None
    assert run(made, 3600, Counter()) == []


def test_a_link_that_is_hurried_says_at_once_what_it_has_and_then_goes_on() -> None:
    made, counts = sayings(Traffic(report_s=600, sample_s=10, faults_per_device_hour=0)), Counter[str]()
    run(made, 1000, counts)
    now: Instant = at(START_S + 1015)
    made.hurry(now)
    said = made.report(now, 0, counts)
    assert len(said) == 3
    assert made.report(now, 0, counts) == []
    assert made.next_due_ns() == now.in_s(600)
