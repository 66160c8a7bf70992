"""The columns of a report that are numbers alone, in one array: no object for a number until somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from fleet_server.health.packing import EXACT, Floats


class NumberColumns(Mapping[str, list[float | int]]):
    """Columns of equal length in one array; one becomes a list when it is asked for, whole numbers without a point."""

    __slots__ = ("names", "numbers", "steps")

    def __init__(self, names: tuple[str, ...], numbers: Floats, steps: int) -> None:
        self.names = names
        self.numbers = numbers
        self.steps = steps

    def __getitem__(self, name: str) -> list[float | int]:
        place = _places(self.names)[name]
        column: list[float] = self.numbers[place * self.steps : (place + 1) * self.steps].tolist()
        return [plain(one) for one in column]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@lru_cache(maxsize=1024)
def _places(names: tuple[str, ...]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


def plain(number: float) -> float | int:
    """Whole numbers as such: a block no longer knows how they were written."""
    return int(number) if number.is_integer() and abs(number) < EXACT else number
