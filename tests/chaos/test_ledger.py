"""Several may write the ledger, any of them may be cut off, and it goes on where it stopped."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.chaos.checker import Verdict
from tests.chaos.ledger import Ledger, summary
from tests.chaos.plan import plan_for
from tests.chaos.run import Outcome, Phases


def add(path: Path, first: int, count: int) -> None:
    ledger = Ledger(path)
    for seed in range(first, first + count):
        ledger.add(Outcome(plan_for(seed), Verdict(records=seed), Phases(0.1, 5.0, 12.0, 4.0, 2.0)))


def test_what_several_write_at_once_is_all_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.jsonl"
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(add, [path] * 4, [1, 51, 101, 151], [50] * 4))
    assert {seed: line.records for seed, line in Ledger(path).lines.items()} == {seed: seed for seed in range(1, 201)}
    assert len(path.read_bytes().splitlines()) == 200


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    add(path, 1, 2)
    path.write_bytes(path.read_bytes()[:-20])
    assert list(Ledger(path).lines) == [1]
    add(path, 3, 1)
    assert list(Ledger(path).lines) == [1, 3]


def test_a_line_counts_for_the_plan_that_it_was_written_for(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    add(path, 7, 1)
    assert Ledger(path).holds(plan_for(7))
    assert not Ledger(path).holds(plan_for(7, faults=3))
    assert not Ledger(path).holds(plan_for(8))


def test_a_line_counts_for_the_product_that_it_was_written_for(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    add(path, 7, 1)
    assert not Ledger(path, "another").holds(plan_for(7))
    assert Ledger(path).holds(plan_for(7))


def test_a_ledger_says_how_long_each_phase_took(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    add(path, 1, 1)
    assert Ledger(path).lines[1].phases == Phases(0.1, 5.0, 12.0, 4.0, 2.0)
    assert summary(list(Ledger(path).lines.values()))["median_s"] == {
        "furnish": 0.1,
        "start": 5.0,
        "faults": 12.0,
        "drain": 4.0,
        "stop": 2.0,
    }
