"""Figures kept in a file as they are measured, so that a run of hours goes on where it stopped.

One JSON object a line: which measurement under which parameters, when, and its figures. A measurement with other
parameters is another one, so a short trial never stands for the real one. A line cut off by a kill is measured again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

import msgspec

from tests.benchmarks.figures import Figure

Parameters = dict[str, float | str]
PLACE = Path(os.environ.get("RESULTS", ".bench/results.jsonl"))


# What makes a measurement smaller or another one.
_KNOBS = (
    "AGENTS",
    "CONNECTIONS",
    "ENTRIES",
    "FLUSHES",
    "INGEST",
    "LARGE",
    "LINKS",
    "MESSAGES",
    "MINUTES",
    "REPORT",
    "ROUNDS",
    "SIZES",
    "STEPS",
)


def knobs() -> Parameters:
    """Those that are turned in the environment."""
    return {name: os.environ[name] for name in _KNOBS if name in os.environ}


class Result(msgspec.Struct, frozen=True):
    name: str
    parameters: Parameters
    measured_at: datetime
    figures: list[Figure]


class Results:
    def __init__(self, place: Path = PLACE) -> None:
        self._place = place

    def all(self) -> list[Result]:
        """In the order in which they were measured."""
        if not self._place.is_file():
            return []
        found = []
        for line in self._place.read_bytes().splitlines():
            try:
                found.append(msgspec.json.decode(line, type=Result))
            except msgspec.DecodeError:
                continue  # Cut off: as if it had not been measured.
        return found

    def find(self, name: str, parameters: Parameters) -> Result | None:
        return next((one for one in reversed(self.all()) if (one.name, one.parameters) == (name, parameters)), None)

    def keep(self, name: str, parameters: Parameters, figures: Sequence[Figure]) -> Result:
        """Without what could not be told: JSON has no word for it."""
        told = [figure for figure in figures if isfinite(figure.value)]
        result = Result(name, parameters, datetime.now(UTC), told)
        self._place.parent.mkdir(parents=True, exist_ok=True)
        line = msgspec.json.encode(result) + b"\n"
        with self._place.open("ab") as file:
            # What an earlier run was writing when it was killed ends here.
            file.write(line if _ends_well(self._place) else b"\n" + line)
        return result

    def once(self, name: str, parameters: Parameters, measure: Callable[[], list[Figure]]) -> Result:
        return self.find(name, parameters) or self.keep(name, parameters, measure())


def _ends_well(place: Path) -> bool:
    content = place.read_bytes()
    return not content or content.endswith(b"\n")
