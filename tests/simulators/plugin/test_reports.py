from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.records import (
    FaultCleared,
    FaultRaised,
    HealthColumns,
    Outcome,
    Record,
    RecordBody,
    Severity,
    Verdict,
)
from simulators.testing.reports import Reports


def record(body: RecordBody, device: str = "printer-1") -> Record:
    return Record(device, "0" * 32, 1, 1, body)


def raised(at_ms: int = 1000, count: int = 1) -> FaultRaised:
    return FaultRaised("escpos.eot4.paper_end", Severity.MINOR, at_ms, at_ms, count)


def cleared(raised_ms: int = 1000, at_ms: int = 5000) -> FaultCleared:
    return FaultCleared("escpos.eot4.paper_end", raised_ms, at_ms)


def test_a_fault_is_open_until_it_is_cleared() -> None:
    reports = Reports()
    reports.take(record(raised()))
    assert [fault.code for fault in reports.open_faults()] == ["escpos.eot4.paper_end"]
    reports.take(record(cleared()))
    assert reports.open_faults() == ()
    assert len(reports.all_faults()) == 1


def test_a_clearing_that_overtakes_its_raising_still_ends_it() -> None:
    reports = Reports()
    reports.take(record(cleared()))
    reports.take(record(raised()))
    assert reports.open_faults() == ()


def test_a_clearing_of_an_earlier_raising_does_not_end_the_present_one() -> None:
    reports = Reports()
    reports.take(record(raised(9000)))
    reports.take(record(cleared(1000)))
    assert len(reports.open_faults()) == 1


def test_a_fault_told_again_is_one_fault_with_a_higher_count() -> None:
    reports = Reports()
    reports.take(record(raised()))
    reports.take(record(raised(count=7)))
    assert [fault.count for fault in reports.all_faults()] == [7]


@given(st.permutations([raised(1000), cleared(1000, 2000), raised(3000), cleared(3000, 4000)]))
def test_in_whatever_order_reports_come_a_fault_whose_end_was_told_is_not_open(bodies: list[RecordBody]) -> None:
    reports = Reports()
    for body in bodies:
        reports.take(record(body))
    newest = reports.fault(None, "escpos.eot4.paper_end")
    assert newest is not None
    assert not newest.is_open


def test_the_newest_measured_value_counts_and_null_is_no_value() -> None:
    reports = Reports()
    columns = {"prn.status": ["ok", "paper_out", None], "prn.temp_c": [None, None, None]}
    reports.take(record(HealthColumns(0, 1000, 3, columns)))  # type: ignore[arg-type]  # lists of what columns hold
    assert reports.readings("printer-1") == {"prn.status": "paper_out"}
    assert reports.readings("another") == {}


def test_verdicts_are_found_by_their_execution() -> None:
    reports = Reports()
    execution = "00000000-0000-7000-8000-000000000001"
    reports.take(record(Verdict("printer.status", Outcome.PASS, execution=execution)))
    reports.take(record(Verdict("printer.status", Outcome.FAIL)))
    assert [verdict.outcome for verdict in reports.verdicts(execution)] == ["pass"]
    assert len(reports.verdicts()) == 2


def test_at_most_so_many_are_kept_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.testing.reports.MAX_KEPT", 3)
    reports = Reports()
    for at_ms in range(1000, 6000, 1000):
        reports.take(record(raised(at_ms)))
    assert [fault.raised_at.timestamp() for fault in reports.all_faults()] == [3.0, 4.0, 5.0]
    assert reports.dropped == 2


def test_a_wait_is_woken_by_the_report_it_waits_for() -> None:
    reports = Reports()
    teller = threading.Thread(target=lambda: reports.take(record(raised())))
    teller.start()
    found = reports.wait_until(lambda: reports.fault("printer-1", "escpos.eot4.paper_end"), 20.0)
    teller.join()
    assert found is not None


def test_a_wait_ends_when_time_is_up() -> None:
    assert Reports().wait_until(lambda: None, 0.0) is None
