"""What the page says of the runs is what their table says, and the table is about what the seeds mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.checker import Verdict, Violation
from tests.chaos.ledger import Ledger
from tests.chaos.plan import Fault, Plan, plan_for
from tests.chaos.report import NotWhole, Run
from tests.chaos.run import DRAINED_WITHIN_S, Outcome, Phases

SEEDS = range(1, 9)
PLANS = [plan_for(seed) for seed in SEEDS]


def outcome(plan: Plan) -> Outcome:
    return Outcome(plan, Verdict(records=10_000, stored=10_004, declared=plan.seed), Phases(0.1, 5.0, 12.0, 4.0, 2.0))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for plan in PLANS:
        ledger.add(outcome(plan))
    return ledger


@pytest.fixture
def kept() -> list[Run]:
    return report.from_table(report.TABLE.read_text("utf-8"))


def row(section: str, name: str) -> list[str]:
    [line] = [line for line in section.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_the_page_says_what_the_table_says(kept: list[Run]) -> None:
    page = report.PAGE.read_text("utf-8")
    assert report.with_section(page, kept) == page


def test_the_table_is_as_it_was_written_and_of_what_the_seeds_mean(kept: list[Run]) -> None:
    assert report.to_table(kept) == report.TABLE.read_text("utf-8")
    assert len({(run.version, run.seed) for run in kept}) == len(kept)
    for run in kept:
        plan = plan_for(run.seed)
        assert (run.database, run.faults) == (plan.database, report.planned(plan)), "run the series again"


def test_the_series_that_is_shown_has_every_fault_and_is_good(kept: list[Run]) -> None:
    assert {fault.value for fault in Fault} == {step.partition(" ")[0] for run in kept for step in run.steps()}
    newest = [run for run in kept if run.version == kept[-1].version]
    assert [run.seed for run in newest if run.lost or run.doubled or run.verdict != report.GOOD] == []
    assert max(run.drain_s for run in newest) <= DRAINED_WITHIN_S


def test_a_table_is_read_as_it_was_written(ledger: Ledger) -> None:
    runs = report.runs_of(ledger, PLANS)
    assert report.from_table(report.to_table(runs)) == runs
    assert [run.declared for run in runs] == list(SEEDS)


def test_what_was_lost_is_told_with_every_fault_of_its_run_and_with_its_seed(ledger: Ledger) -> None:
    verdict = Verdict([Violation("lost", "agent0", "chaos.7"), Violation("ack_ahead", "agent0", "")], records=10_000)
    verdict.counts.update(lost=3, doubled=2)
    bad = outcome(plan_for(4))
    bad.verdict, bad.phases.drain = verdict, 61.0
    ledger.add(bad)
    runs = report.runs_of(ledger, PLANS)
    section = report.section(runs)
    assert "3 lost, 2 twice" in section
    assert "Seeds of runs that broke a rule: 4 (ack_ahead lost);" in section
    for step in plan_for(4).steps:
        name = step.fault.value if step.fault not in {Fault.KILL, Fault.STOP} else ""
        if name:
            assert row(section, name)[3:5] == ["3", "2"]
            assert row(section, name)[6] == "61.0 s"
    others = {step.fault.value for plan in PLANS for step in plan.steps} - {
        step.fault.value for step in plan_for(4).steps
    }
    for name in others - {Fault.KILL, Fault.STOP}:
        assert row(section, name)[3:5] == ["0", "0"]
    assert row(section, "any, on PostgreSQL")[3:5] == ["0", "0"]
    assert row(section, "any, on SQLite")[3:5] == ["3", "2"]


def test_a_plan_that_was_run_again_is_told_with_what_came_of_it_before(ledger: Ledger, tmp_path: Path) -> None:
    bad = outcome(plan_for(9))
    bad.verdict = Verdict([Violation("not_drained", "agent0", ""), Violation("late", "agent0", "")], records=10_000)
    ledger.add(bad)
    ledger.add(outcome(plan_for(9)))
    for known in (ledger, Ledger(tmp_path / "ledger.jsonl")):
        runs = report.runs_of(known, [*PLANS, plan_for(9)])
        told = [(run.seed, run.verdict, run.earlier) for run in runs if run.earlier]
        assert told == [(9, "good", "late not_drained")]
        assert "with what came of them before: 9 (late not_drained)." in report.section(runs)


def test_runs_of_one_version_add_up_and_those_of_another_stay_beside_them(ledger: Ledger, tmp_path: Path) -> None:
    before = [replace(run, version="older") for run in report.runs_of(ledger, PLANS[:3])]
    here = report.runs_of(ledger, PLANS[:5], before)
    assert [(run.version, run.seed) for run in here] == [
        *(("older", seed) for seed in (1, 2, 3)),
        *((ledger.version, seed) for seed in range(1, 6)),
    ]
    elsewhere = Ledger(tmp_path / "elsewhere.jsonl")
    for plan in PLANS[4:]:
        elsewhere.add(outcome(plan))
    both = report.runs_of(elsewhere, PLANS, here)
    assert both == [*before, *report.runs_of(ledger, PLANS)]
    section = report.section(both)
    assert "11 runs, seeds 1 to 8: 110,000 records" in section
    assert row(section, "`older`") == ["3", "30,000", "0", "0", "0"]
    assert row(section, f"`{ledger.version}`") == ["8", "80,000", "0", "0", "0"]


def test_a_run_of_a_seed_that_means_something_else_now_is_dropped(ledger: Ledger) -> None:
    kept = [replace(run, version="older", faults="kill broker") for run in report.runs_of(ledger, PLANS[:1])]
    assert {run.version for run in report.runs_of(ledger, PLANS[:1], kept)} == {ledger.version}


def test_only_runs_of_this_version_as_their_seed_alone_makes_them_need_not_be_made_again(ledger: Ledger) -> None:
    bad = outcome(PLANS[1])
    bad.verdict = Verdict([Violation("late", "agent0", "")], records=10_000)
    ledger.add(bad)
    kept = report.runs_of(ledger, PLANS[:2])
    assert report.told(kept, PLANS, ledger.version) == {1: True, 2: False}
    assert report.told(kept, PLANS, "another") == {}
    assert report.told(kept, [plan_for(1, records=400)], ledger.version) == {}


def test_kills_are_told_apart_by_whom_they_hit(ledger: Ledger) -> None:
    section = report.section(report.runs_of(ledger, PLANS))
    hit = [step.target for plan in PLANS for step in plan.steps if step.fault is Fault.KILL]
    assert int(row(section, "kill agent")[0]) == sum(name.startswith("agent") for name in hit) > 0
    assert int(row(section, "kill ingest")[0]) == sum(name.startswith("ingest") for name in hit) > 0


def test_a_series_that_is_not_whole_is_not_reported(ledger: Ledger) -> None:
    with pytest.raises(NotWhole, match="not yet run: seeds 9, 10"):
        report.runs_of(ledger, [plan_for(seed) for seed in range(1, 11)])
    with pytest.raises(NotWhole, match="not yet run: seeds 3"):
        report.runs_of(ledger, [plan_for(3, faults=2)])
    partial = outcome(plan_for(2))
    partial.left_out = {"loss": "no namespaces"}
    ledger.add(partial)
    with pytest.raises(NotWhole, match="left out in seeds 2"):
        report.runs_of(ledger, PLANS)


def test_runs_that_took_too_long_are_counted(ledger: Ledger) -> None:
    runs = report.runs_of(ledger, PLANS)
    slow = [replace(run, run_s=40.5) if run.seed in {1, 2} else run for run in runs]
    assert "0 of the runs took longer" in report.section(runs)
    assert "2 of the runs took longer than 40 s" in report.section(slow)


def test_only_the_section_of_a_page_is_written_anew(ledger: Ledger, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", "utf-8")
    report.write(report.runs_of(ledger, PLANS), tmp_path / "runs.csv", page)
    text = page.read_text("utf-8")
    told = "8 runs, seeds 1 to 8: 80,000 records,\n0 lost, 0 twice, 36 given up and declared.\n"
    assert text.startswith(f"before\n{report.BEGIN}\n{told}")
    assert text.endswith(f"{report.END}\nafter\n")
