"""``python -m tests.benchmarks.sheet [--write]``: the sizing sheet from what was measured and kept.

With ``--write`` it goes between the markers of ``docs/sizing.md``. What was not measured stays empty; what is computed
from a measurement at another size is marked with ``*``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks.figures import Figure
from tests.benchmarks.results import Result, Results

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sizing.md"
BEGIN, END = "<!-- sheet: made by tests.benchmarks.sheet -->", "<!-- end of sheet -->"
COLUMNS = (10_000, 100_000, 400_000)
USUAL_MINUTES = 3.0
EMPTY = "-"
COMPUTED = " *"
_CONNECTION = "memory of the broker a connection"


def sheet(found: Sequence[Result]) -> str:
    """The newest measurement of each size, of the usual length alone: a short trial says nothing about a fleet."""
    sizes = {int(one.parameters["count"]): one for one in found if _is_usual(one, "sizing")}
    connections = {int(one.parameters["count"]): one for one in found if _is_usual(one, "connections")}
    traffic = next((one.figures for one in reversed(found) if one.name == "traffic"), [])
    lines = ["| | " + " | ".join(f"{count:,} terminals" for count in COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    lines += _fleet_rows(sizes)
    lines += _connection_rows(connections)
    for figure in traffic:
        title = figure.name.replace(" of a terminal", ", each terminal on its own connection")
        lines.append(_row(title, partial(_of_fleet, figure)))
    return "\n".join([BEGIN, "", *lines, "", *_conditions([*sizes.values(), *connections.values()]), END])


def _is_usual(one: Result, name: str) -> bool:
    return one.name == name and float(one.parameters.get("minutes", 0.0)) >= USUAL_MINUTES


def _fleet_rows(sizes: dict[int, Result]) -> list[str]:
    names = list(dict.fromkeys(figure.name for one in sizes.values() for figure in one.figures))
    return [_row(name, partial(_of_size, sizes, name)) for name in names]


def _of_size(sizes: dict[int, Result], name: str, count: int) -> str:
    return _measured(sizes.get(count), name)


def _connection_rows(connections: dict[int, Result]) -> list[str]:
    """Each terminal on a connection of its own: measured as far as it was, the rest by the largest of them."""
    if not connections:
        return []
    largest = max(connections)
    kb = next(one.value for one in connections[largest].figures if one.name == _CONNECTION)

    def memory(count: int) -> str:
        if count in connections:
            return _measured(connections[count], "memory, broker")
        return f"{_number(kb * count / 1024)} MB{COMPUTED}"

    title = "broker's memory, each terminal on its own connection with mutual TLS"
    cores = "broker's cores, the same"
    return [
        _row(title, memory),
        _row(cores, lambda count: _scaled(connections, largest, count, "cores, broker")),
    ]


def _scaled(connections: dict[int, Result], largest: int, count: int, name: str) -> str:
    if count in connections:
        return _measured(connections[count], name)
    value = next(one.value for one in connections[largest].figures if one.name == name)
    return f"{_number(value * count / largest)}{COMPUTED}"


def _measured(one: Result | None, name: str) -> str:
    figure = None if one is None else next((each for each in one.figures if each.name == name), None)
    return EMPTY if figure is None else f"{_number(figure.value)} {figure.unit}".rstrip()


def _of_fleet(figure: Figure, count: int) -> str:
    """Of one terminal in MB, of all in GB."""
    return f"{_number(figure.value * count / 1024)} GB{COMPUTED}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _row(title: str, cell: Callable[[int], str]) -> str:
    return f"| {title} | " + " | ".join(cell(count) for count in COLUMNS) + " |"


def _conditions(measured: Sequence[Result]) -> list[str]:
    if not measured:
        return ["Not measured yet on a quiet machine.", ""]
    days = sorted({f"{one.measured_at:%Y-%m-%d}" for one in measured})
    held = sorted({f"{float(one.parameters['minutes']):g}" for one in measured})
    return [
        f"Measured {', '.join(days)}, {', '.join(held)} minutes each. {COMPUTED.strip()} computed, not measured.",
        "",
    ]


def write(page: Path, made: str) -> None:
    before, rest = page.read_text("utf-8").split(BEGIN, 1)
    page.write_text(before + made + rest.split(END, 1)[1], "utf-8")


def main() -> int:
    made = sheet(Results().all())
    if "--write" in sys.argv[1:]:
        write(PAGE, made)
    else:
        print(made)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
