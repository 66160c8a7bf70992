"""``python -m tests.benchmarks [NAME ...]``: measures and prints a table for docs/performance.md."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.demo_client import Demo
from tests.benchmarks import (
    agent_weight,
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
    round_trip,
    stampede,
    wire_day,
)
from tests.benchmarks.figures import Figure

ON_A_DEMO: dict[str, Callable[[Demo], list[Figure]]] = {
    "round_trip": round_trip.measure,
    "agent_weight": agent_weight.measure,
    "fault_to_page": fault_to_page.measure,
    "device_page": device_page.measure,
}
# Minutes each: only by name.
LONG: dict[str, Callable[[Path], list[Figure]]] = {
    "connected_agents": connected_agents.measure,
    "ingest_growth": ingest_growth.measure,
    "ingest_memory": ingest_memory.measure,
    "large_desk": large_desk.measure,
    "large_pages": large_pages.measure,
    "metric_points": metric_points.measure,
    "offline_month": offline_month.measure,
    "stampede": stampede.measure,
}


def main() -> int:
    wanted = sys.argv[1:] or [*ON_A_DEMO, "wire_day", "flush_cost", "ingest_rate"]
    print("| figure | measured | goal |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="tillmedic-bench-") as folder:
        on_a_demo = [name for name in ON_A_DEMO if name in wanted]
        if on_a_demo:
            demo = Demo(Path(folder) / "demo")
            demo.start()
            try:
                for name in on_a_demo:
                    show(ON_A_DEMO[name](demo))
            finally:
                demo.stop()
        if "wire_day" in wanted:
            show(wire_day.measure())
        if "flush_cost" in wanted:
            show(flush_cost.measure(Path(folder)))
        if "ingest_rate" in wanted:
            show(ingest_rate.measure(Path(folder)))
        for name in (name for name in LONG if name in wanted):
            show(LONG[name](Path(folder)))
    return 0


def show(figures: list[Figure]) -> None:
    for figure in figures:
        print(figure.row(), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
