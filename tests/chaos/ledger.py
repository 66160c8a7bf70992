"""What came of the runs: one JSON line each, so that a long series goes on where it stopped.

A line counts for a plan only when it was written for that very plan: when what a seed means has changed, it is run
again. The newest line of a seed is the one that counts.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tests.chaos.plan import Plan
from tests.chaos.run import Outcome


class Line(msgspec.Struct, frozen=True):
    """``records``: what the agents' spools kept. ``violations``: as told; ``counts``: by rule, all of them."""

    plan: Plan
    is_good: bool
    records: int
    stored: int
    declared: int
    counts: dict[str, int]
    violations: list[str]
    drain_s: float
    run_s: float
    executions: int
    left_out: dict[str, str]
    starts: dict[str, int]
    fed_s: float = 0.0
    kept: str = ""  # where the logs of a bad run are


class Ledger:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.lines: dict[int, Line] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                # What was cut off, or written when a line said something else, is run again.
                with suppress(msgspec.DecodeError):
                    read = msgspec.json.decode(line, type=Line)
                    self.lines[read.plan.seed] = read

    def holds(self, plan: Plan) -> bool:
        known = self.lines.get(plan.seed)
        return known is not None and known.plan == plan

    def add(self, outcome: Outcome, kept: str = "") -> Line:
        verdict = outcome.verdict
        line = Line(
            plan=outcome.plan,
            is_good=outcome.is_good,
            records=verdict.records,
            stored=verdict.stored,
            declared=verdict.declared,
            counts=dict(verdict.counts),
            violations=[str(one) for one in verdict.violations],
            fed_s=round(outcome.fed_s, 2),
            drain_s=round(outcome.drain_s, 2),
            run_s=round(outcome.run_s, 2),
            executions=outcome.executions,
            left_out=outcome.left_out,
            starts=outcome.notes,
            kept=kept,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        self.lines[line.plan.seed] = line
        return line


def summary(lines: list[Line]) -> dict[str, Any]:
    left_out: dict[str, str] = {}
    faults: dict[str, int] = {}
    for line in lines:
        left_out |= line.left_out
        for step in line.plan.steps:
            if step.fault.value not in line.left_out:
                faults[step.fault.value] = faults.get(step.fault.value, 0) + 1
    good = [line for line in lines if line.is_good]
    return {
        "runs": len(lines),
        "good": len(good),
        "bad_seeds": sorted(line.plan.seed for line in lines if not line.is_good),
        "records": sum(line.records for line in lines),
        "lost": sum(line.counts.get("lost", 0) for line in lines),
        "doubled": sum(line.counts.get("doubled", 0) for line in lines),
        "declared": sum(line.declared for line in lines),
        "executions": sum(line.executions for line in lines),
        "slowest_drain_s": max((line.drain_s for line in good), default=0.0),
        "median_drain_s": sorted(line.drain_s for line in good)[len(good) // 2] if good else 0.0,
        "median_run_s": sorted(line.run_s for line in lines)[len(lines) // 2] if lines else 0.0,
        "faults": dict(sorted(faults.items())),
        "left_out": left_out,
    }
