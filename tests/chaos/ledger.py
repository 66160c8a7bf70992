"""What came of the runs: one JSON line each, so that a long series goes on where it stopped.

A line counts for a plan only when it was written for that very plan and that very product (`tests.chaos.version`): when
what a seed means has changed, or the code that it tries, it is run again. The newest line of a seed is the one that
counts.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tests.chaos.plan import Plan
from tests.chaos.run import Outcome, Phases
from tests.chaos.version import UNKNOWN, product


class Line(msgspec.Struct, frozen=True):
    """``records``: what the agents' spools kept. ``violations``: as told; ``counts``: by rule, all of them."""

    plan: Plan
    is_good: bool
    records: int
    stored: int
    declared: int
    counts: dict[str, int]
    violations: list[str]
    phases: Phases
    executions: int
    left_out: dict[str, str]
    starts: dict[str, int]
    load: float = 0.0  # processes that wanted a core at the end of the run, of all programs on the machine
    kept: str = ""  # where the logs of a bad run are
    version: str = UNKNOWN  # of the product


class Ledger:
    """The lines of a version as of its opening, and those that were added here. ``earlier``: of plans run again."""

    def __init__(self, path: Path, version: str | None = None) -> None:
        self._path = path
        self.version = version or product()
        self.lines: dict[int, Line] = {}
        self.earlier: dict[int, list[Line]] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                # What was cut off, or written when a line said something else, is run again.
                with suppress(msgspec.DecodeError):
                    read = msgspec.json.decode(line, type=Line)
                    self._take(read)

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
            phases=_rounded(outcome.phases),
            executions=outcome.executions,
            left_out=outcome.left_out,
            starts=outcome.notes,
            load=round(os.getloadavg()[0], 1),
            kept=kept,
            version=self.version,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._append(msgspec.json.encode(line) + b"\n")
        self._take(line)
        return line

    def _take(self, line: Line) -> None:
        if line.version != self.version:
            return
        before = self.lines.get(line.plan.seed)
        if before is not None and before.plan == line.plan:
            self.earlier.setdefault(line.plan.seed, []).append(before)
        self.lines[line.plan.seed] = line

    def _append(self, line: bytes) -> None:
        """Others write here as well, and one of them may have been cut off in the midst of its line."""
        with self._path.open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if size := file.seek(0, os.SEEK_END):
                file.seek(size - 1)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)


def _rounded(phases: Phases) -> Phases:
    return Phases(*(round(took_s, 2) for took_s in msgspec.structs.astuple(phases)))


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
        "slowest_drain_s": max((line.phases.drain for line in good), default=0.0),
        "median_drain_s": _median([line.phases.drain for line in good]),
        "longest_run_s": round(max((line.phases.together for line in lines), default=0.0), 2),
        "median_run_s": round(_median([line.phases.together for line in lines]), 2),
        "median_s": {
            name: _median([getattr(line.phases, name) for line in lines]) for name in Phases.__struct_fields__
        },
        "faults": dict(sorted(faults.items())),
        "left_out": left_out,
    }


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
