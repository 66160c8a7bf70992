"""The columns of a report that are numbers alone, in one array: no object for a number until somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from fleet_server.health.packing import Floats


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
        return [_plain(one) for one in column]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def one(self, name: str, step: int) -> float | int:
        """A single sample of a column."""
        return _plain(self.numbers.item(_places(self.names)[name] * self.steps + step))


@lru_cache(maxsize=1024)
def _places(names: tuple[str, ...]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


def _plain(number: float) -> float | int:
    return int(number) if number.is_integer() else number
