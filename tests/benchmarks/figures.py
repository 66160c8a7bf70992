"""What a benchmark answers: a figure with its unit and, where there is one, its goal or floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    unit: str
    goal: str = ""

    @property
    def is_loss(self) -> bool:
        """Of what there must be none, there is some."""
        return self.goal == "0" and self.value != 0

    def row(self) -> str:
        return f"| {self.name} | {self.value:,.4g} {self.unit} | {self.goal or '-'} |"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
