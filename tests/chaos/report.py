"""What came of a series, for readers: a table of its runs, and a section of a page that is made from the table alone.

The table (`TABLE`, one row a run) is kept in the repository, so that anybody can hold the page against it, and each of
its rows against what its seed means. Runs of several versions of the product add up in it, from one machine and the
next; a row says which version it was of, and the page how many runs each had.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Final

from tests.chaos.ledger import Ledger, Line
from tests.chaos.plan import Fault, Plan, plan_for
from tests.chaos.processes import REPOSITORY
from tests.chaos.run import DRAINED_WITHIN_S

TABLE: Final = REPOSITORY / "docs" / "chaos-runs.csv"
PAGE: Final = REPOSITORY / "docs" / "reliability.md"
BEGIN: Final = "<!-- chaos runs: made by python -m tests.chaos report -->"
END: Final = "<!-- end of chaos runs -->"
GOOD: Final = "good"
RUN_WITHIN_S: Final = 40.0
_DATABASES: Final = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
_PHASES: Final = ("start_s", "faults_s", "drain_s", "stop_s", "run_s", "load")


class NotWhole(Exception):
    """A series with runs missing, or with faults left out, is no evidence."""


@dataclass(frozen=True, slots=True)
class Run:
    """A row of the table. ``version``: of the product, see `tests.chaos.version`. ``faults``: as planned, by time, as
    ``kill broker``. ``verdict``: `GOOD`, or the rules that were broken; ``earlier``: those of the plan before it was
    run again. ``load``: how many processes wanted a core at its end, of all programs on the machine.
    """

    version: str
    seed: int
    database: str
    records: int
    declared: int
    lost: int
    doubled: int
    start_s: float
    faults_s: float
    drain_s: float
    stop_s: float
    run_s: float
    load: float
    verdict: str
    earlier: str
    faults: str

    def steps(self) -> list[str]:
        return self.faults.split("; ") if self.faults else []


def run_of(line: Line, earlier: Sequence[Line] = ()) -> Run:
    phases = line.phases
    return Run(
        version=line.version,
        seed=line.plan.seed,
        database=line.plan.database,
        records=line.records,
        declared=line.declared,
        lost=line.counts.get("lost", 0),
        doubled=line.counts.get("doubled", 0),
        start_s=phases.start,
        faults_s=phases.faults,
        drain_s=phases.drain,
        stop_s=phases.stop,
        run_s=round(phases.together, 2),
        load=line.load,
        verdict=_verdict(line),
        earlier="; ".join(map(_verdict, earlier)),
        faults=planned(line.plan),
    )


def planned(plan: Plan) -> str:
    return "; ".join(f"{step.fault.value} {step.target}".strip() for step in plan.steps)


def _verdict(line: Line) -> str:
    return GOOD if line.is_good else " ".join(sorted({told.split(" ")[0] for told in line.violations}))


def runs_of(ledger: Ledger, plans: Sequence[Plan], kept: Sequence[Run] = ()) -> list[Run]:
    """``kept``: rows that the table has already. Those of other versions stay, as long as their seeds mean the same; of
    this version a plan has one row, by the ledger if it knows of a run.
    """
    made = {plan.seed: ledger.lines[plan.seed] for plan in plans if ledger.holds(plan)}
    stay = [run for run in kept if is_of(run, plan_for(run.seed))]
    stay = [run for run in stay if run.version != ledger.version or run.seed not in made]
    there = {run.seed for run in stay if run.version == ledger.version}
    if missing := [plan.seed for plan in plans if plan.seed not in made.keys() | there]:
        raise NotWhole(f"not yet run: seeds {', '.join(map(str, missing))}")
    if partial := [seed for seed, line in made.items() if line.left_out]:
        raise NotWhole(f"faults were left out in seeds {', '.join(map(str, partial))}")
    new = [run_of(line, ledger.earlier.get(seed, [])) for seed, line in made.items()]
    order = list(dict.fromkeys([run.version for run in kept] + [ledger.version]))
    return sorted([*stay, *new], key=lambda run: (order.index(run.version), run.seed))


def is_of(run: Run, plan: Plan) -> bool:
    """Whether the row's seed still means what was run."""
    return (run.seed, run.database, run.faults) == (plan.seed, plan.database, planned(plan))


def told(kept: Sequence[Run], plans: Sequence[Plan], version: str) -> dict[int, bool]:
    """Which of the plans the table has of this version, by seed, and whether they were good. Only plans as a seed alone
    makes them stand in it.
    """
    of_version = {run.seed: run for run in kept if run.version == version}
    usual = [plan for plan in plans if plan.seed in of_version and plan == plan_for(plan.seed)]
    return {plan.seed: of_version[plan.seed].verdict == GOOD for plan in usual if is_of(of_version[plan.seed], plan)}


def read(table: Path) -> list[Run]:
    """None where there is no table, or one of another shape: it is then begun anew."""
    try:
        return from_table(table.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return []


def to_table(runs: Iterable[Run]) -> str:
    text = io.StringIO()
    names = [field.name for field in fields(Run)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(run, name) for name in names] for run in runs)
    return text.getvalue()


def from_table(text: str) -> list[Run]:
    """Raises ValueError, KeyError or TypeError for what `to_table` did not write."""
    of: dict[str, Callable[[str], object]] = {"int": int, "float": float, "str": str}
    kinds = {field.name: of[str(field.type)] for field in fields(Run)}
    rows = csv.DictReader(io.StringIO(text), strict=True)
    return [Run(*(kinds[name](row[name]) for name in kinds)) for row in rows]  # type: ignore[arg-type]  # by its fields


def section(runs: Sequence[Run]) -> str:
    too_long = sum(run.run_s > RUN_WITHIN_S for run in runs)
    lines = [
        BEGIN,
        *_in_short(runs),
        "",
        "| version of the product, newest last | runs | records | lost | twice | that broke a rule |",
        "|---|---|---|---|---|---|",
        *(_of_version(version, runs) for version in dict.fromkeys(run.version for run in runs)),
        "",
        "| fault | times | in runs | records of these runs | lost | twice | declared | slowest drain |",
        "|---|---|---|---|---|---|---|---|",
        *(_of_kind(kind, runs) for kind in _all_kinds(runs)),
        *(_of_database(database, name, runs) for database, name in _DATABASES.items()),
        "",
        "| of a run, in seconds | " + " | ".join(name.removesuffix("_s") for name in _PHASES) + " |",
        "|---|" + "---|" * len(_PHASES),
        "| median | " + " | ".join(f"{median(getattr(run, name) for run in runs):.1f}" for name in _PHASES) + " |",
        "| longest | " + " | ".join(f"{max(getattr(run, name) for run in runs):.1f}" for name in _PHASES) + " |",
        "",
        f"{too_long} of the runs took longer than {RUN_WITHIN_S:g} s as a whole.",
        END,
    ]
    return "\n".join(lines)


def _in_short(runs: Sequence[Run]) -> list[str]:
    lost, doubled, declared = (sum(getattr(run, name) for run in runs) for name in ("lost", "doubled", "declared"))
    records, slowest = sum(run.records for run in runs), max(run.drain_s for run in runs)
    again = [f"{run.seed} ({run.earlier})" for run in runs if run.earlier]
    bad = [f"{run.seed} ({run.verdict})" for run in runs if run.verdict != GOOD]
    return [
        f"{len(runs)} runs, {_spans(sorted({run.seed for run in runs}))}: {records:,} records,",
        f"{lost} lost, {doubled} twice, {declared:,} given up and declared.",
        f"Slowest drain: {slowest:.1f} s after the last fault; {DRAINED_WITHIN_S:g} s are allowed.",
        f"Seeds of runs that broke a rule: {', '.join(bad) if bad else 'none'};",
        f"of plans that were run again, with what came of them before: {', '.join(again) if again else 'none'}.",
    ]


def _of_version(version: str, runs: Sequence[Run]) -> str:
    meant = [run for run in runs if run.version == version]
    cells = [
        f"`{version}`",
        f"{len(meant)}",
        f"{sum(run.records for run in meant):,}",
        f"{sum(run.lost for run in meant)}",
        f"{sum(run.doubled for run in meant)}",
        f"{sum(run.verdict != GOOD for run in meant)}",
    ]
    return f"| {' | '.join(cells)} |"


def with_section(page: str, runs: Sequence[Run]) -> str:
    before, rest = page.split(BEGIN, 1)
    return before + section(runs) + rest.split(END, 1)[1]


def write(runs: Sequence[Run], table: Path, page: Path) -> None:
    table.write_text(to_table(runs), "utf-8")
    page.write_text(with_section(page.read_text("utf-8"), runs), "utf-8")


def _of_kind(kind: str, runs: Sequence[Run]) -> str:
    meant = [run for run in runs if kind in map(_kind, run.steps())]
    return _row(kind, meant, sum(_kind(step) == kind for run in meant for step in run.steps()))


def _of_database(database: str, name: str, runs: Sequence[Run]) -> str:
    meant = [run for run in runs if run.database == database]
    return _row(f"any, on {name}", meant, sum(len(run.steps()) for run in meant))


def _row(name: str, meant: Sequence[Run], times: int) -> str:
    cells = [
        f"{times}",
        f"{len(meant)}",
        f"{sum(run.records for run in meant):,}",
        f"{sum(run.lost for run in meant)}",
        f"{sum(run.doubled for run in meant)}",
        f"{sum(run.declared for run in meant):,}",
        f"{max((run.drain_s for run in meant), default=0.0):.1f} s",
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def _kind(step: str) -> str:
    """`kill` and `stop` by whom they hit, which number of agent or worker does not matter."""
    fault, _, target = step.partition(" ")
    return f"{fault} {target.rstrip('-0123456789')}" if fault in {Fault.KILL, Fault.STOP} else fault


def _all_kinds(runs: Sequence[Run]) -> list[str]:
    order = [fault.value for fault in Fault]
    found = {_kind(step) for run in runs for step in run.steps()}
    return sorted(found, key=lambda kind: (order.index(kind.partition(" ")[0]), kind))


def _spans(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    whole = last - first + 1 == len(numbers)
    return f"seeds {first} to {last}" if whole else "seeds " + ", ".join(map(str, numbers))
