"""``python -m tests.benchmarks [NAME ...]``: measures and prints a table for docs/performance.md.

``--long``: those that take minutes, one after another, each in a process of its own; what was measured is kept, and the
next call goes on with the rest. Ends with 1 when something was lost that must not be, or could not be measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.demo_client import Demo
from tests.benchmarks import (
    agent_weight,
    audit_chain,
    connected_agents,
    device_page,
    fault_to_page,
    flush_cost,
    ingest_growth,
    ingest_memory,
    ingest_rate,
    large_desk,
    large_pages,
    metric_points,
    offline_month,
    redaction,
    round_trip,
    sizing,
    slow_clients,
    stampede,
    wire_day,
)
from tests.benchmarks.figures import Figure
from tests.benchmarks.results import Results, knobs

ON_A_DEMO: dict[str, Callable[[Demo], list[Figure]]] = {
    "round_trip": round_trip.measure,
    "agent_weight": agent_weight.measure,
    "fault_to_page": fault_to_page.measure,
    "device_page": device_page.measure,
}
SHORT: dict[str, Callable[[Path], list[Figure]]] = {
    "wire_day": lambda _folder: wire_day.measure(),
    "flush_cost": flush_cost.measure,
    "ingest_rate": ingest_rate.measure,
    "redaction": lambda _folder: redaction.measure(),
}
# Minutes each: only by name.
LONG: dict[str, Callable[[Path], list[Figure]]] = {
    "audit_chain": audit_chain.measure,
    "connected_agents": connected_agents.measure,
    "ingest_growth": ingest_growth.measure,
    "ingest_memory": ingest_memory.measure,
    "large_desk": large_desk.measure,
    "large_pages": large_pages.measure,
    "metric_points": metric_points.measure,
    "offline_month": offline_month.measure,
    "sizing": sizing.measure,
    "slow_clients": slow_clients.measure,
    "stampede": stampede.measure,
}

HEAD = "| figure | measured | goal |\n|---|---|---|"
KEEP = "TILLMEDIC_BENCH_KEEP"


def main() -> int:
    if sys.argv[1:] == ["--long"]:
        return all_long(Results())
    wanted = sys.argv[1:] or [*ON_A_DEMO, *SHORT]
    unknown = set(wanted) - {*ON_A_DEMO, *SHORT, *LONG}
    if unknown:
        sys.stderr.write(f"expected some of {', '.join([*ON_A_DEMO, *SHORT, *LONG])}, came {', '.join(unknown)}\n")
        return 2
    print(HEAD, flush=True)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="tillmedic-bench-") as folder:
        figures += on_a_demo([name for name in ON_A_DEMO if name in wanted], Path(folder))
        for name, measure in {**SHORT, **LONG}.items():
            if name in wanted:
                figures += shown(name, measure(Path(folder)))
    return 1 if any(figure.is_loss for figure in figures) else 0


def on_a_demo(names: list[str], folder: Path) -> list[Figure]:
    if not names:
        return []
    demo = Demo(folder / "demo")
    demo.start()
    try:
        return [figure for name in names for figure in shown(name, ON_A_DEMO[name](demo))]
    finally:
        demo.stop()


def shown(name: str, figures: list[Figure]) -> list[Figure]:
    """Printed; kept too when this was started by `all_long`."""
    for figure in figures:
        print(figure.row(), flush=True)
    if KEEP in os.environ:
        Results().keep(name, knobs(), figures)
    return figures


def all_long(results: Results) -> int:
    failed = []
    for name in LONG:
        if results.find(name, knobs()) is None:
            sys.stderr.write(f"{name}\n")
            command = [sys.executable, "-m", "tests.benchmarks", name]
            subprocess.run(command, env={**os.environ, KEEP: "1"}, stdout=subprocess.DEVNULL, check=False)
    print(HEAD)
    for name in LONG:
        found = results.find(name, knobs())
        if found is None:
            failed.append(name)
            continue
        for figure in found.figures:
            print(figure.row())
        failed += [f"{name}: {figure.name}" for figure in found.figures if figure.is_loss]
    for one in failed:
        sys.stderr.write(f"not measured, or lost: {one}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
