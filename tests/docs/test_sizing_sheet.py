"""The sizing sheet shows what was measured as long as it has to be, and says of everything else that it was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks.figures import Figure
from tests.benchmarks.results import Results, knobs
from tests.benchmarks.sheet import BEGIN, END, PAGE, sheet, write

OF_CONNECTIONS = [
    Figure("cores, broker", 0.5, ""),
    Figure("memory, broker", 250.0, "MB"),
    Figure("memory of the broker a connection", 25.6, "kB"),
]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "kept" / "results.jsonl")


def row(page: str, title: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {title}"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_the_page_has_a_place_for_the_sheet() -> None:
    text = PAGE.read_text("utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)


def test_a_short_trial_does_not_come_into_the_sheet_and_what_is_missing_stays_empty(results: Results) -> None:
    results.keep("sizing", {"count": 100_000, "minutes": 1.0}, [Figure("cores, broker", 9.0, "")])
    assert "9" not in sheet(results.all()).replace("docs", "")
    results.keep("sizing", {"count": 10_000, "minutes": 3.0}, [Figure("cores, broker", 0.125, "")])
    assert row(sheet(results.all()), "cores, broker") == ["0.125", "-", "-"]


def test_connections_beyond_what_was_measured_are_computed_and_marked_so(results: Results) -> None:
    results.keep("connections", {"count": 10_000, "minutes": 3.0}, OF_CONNECTIONS)
    made = sheet(results.all())
    assert row(made, "broker's memory") == ["250 MB", "2,500 MB *", "10,000 MB *"]
    assert row(made, "broker's cores") == ["0.5", "5 *", "20 *"]


def test_a_sheet_takes_the_place_of_the_last_one_and_of_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    write(page, f"{BEGIN}\nnew\n{END}")
    assert page.read_text("utf-8") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_what_was_measured_is_not_measured_again_and_other_parameters_are_another_measurement(results: Results) -> None:
    measured: list[float] = []

    def measure() -> list[Figure]:
        measured.append(1.0)
        return [Figure("cores", len(measured), ""), Figure("not to be told", float("nan"), "")]

    first = results.once("sizing", {"count": 5}, measure)
    assert results.once("sizing", {"count": 5}, measure) == first
    assert results.once("sizing", {"count": 6}, measure).figures == [Figure("cores", 2.0, "")]


def test_a_line_that_a_kill_cut_off_is_measured_again_and_spoils_no_other(results: Results, tmp_path: Path) -> None:
    results.keep("a", {}, [Figure("cores", 1, "")])
    place = tmp_path / "kept" / "results.jsonl"
    place.write_bytes(place.read_bytes() + b'{"name": "b", "para')
    results.keep("c", {}, [Figure("cores", 3, "")])
    assert [one.name for one in results.all()] == ["a", "c"]


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (1, 1)])
def test_the_long_run_ends_with_an_error_when_something_was_lost(results: Results, lost: int, code: int) -> None:
    for name in benchmarks.LONG:
        results.keep(name, knobs(), [Figure("records not acknowledged", lost if name == "sizing" else 0, "", "0")])
    assert benchmarks.all_long(results) == code
