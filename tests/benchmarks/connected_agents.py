"""10,000 connected terminals, each on a connection of its own with mutual TLS, held for ten minutes (``MINUTES=``).

Each takes a sample of ten metrics each 10 s and reports each minute, the pace that the server asks of an unmetered
link; at the end all of them report in the same moment. ``LINKS=`` makes it smaller.
"""

from __future__ import annotations

import os
from pathlib import Path

from simulators.load.fleet import FleetSize
from simulators.load.traffic import Traffic
from tests.benchmarks.desk import Desk, Held, hold, minutes
from tests.benchmarks.figures import Figure

LINKS = 10_000


def measure(folder: Path) -> list[Figure]:
    links = int(os.environ.get("LINKS", LINKS))
    desk = Desk(FleetSize(links, 0), Traffic(report_s=60, sample_s=10), minutes() * 60, has_surge=True)
    return figures_of(hold(folder / "connected", desk))


def figures_of(held: Held) -> list[Figure]:
    summary, surge, found = held.summary, held.surge, held.read_back
    broker_kb = held.peak_mb.get("broker", 0.0) * 1024 / summary.links
    figures = [
        Figure("connected terminals, mutual TLS", summary.links, ""),
        Figure("held for", summary.held_s / 60, "min"),
        Figure("records acknowledged", summary.acked, ""),
        Figure("records not acknowledged in the end", summary.lost, "", "0"),
        Figure("samples missing in the database or twice in it", held.samples_off, "", "0"),
        Figure("faults missing in the database or twice in it", held.faults_off, "", "0"),
        Figure("points read back", found.points, ""),
        Figure(
            "points read back that were wrong, missing or twice", found.wrong + found.missing + found.doubled, "", "0"
        ),
        Figure("record to acknowledgement, p50", summary.ack_p50_s, "s"),
        Figure("record to acknowledgement, p99", summary.ack_p99_s, "s", "under 2 s"),
        Figure("connections lost", summary.losses, "", "0"),
        Figure("connected and welcomed within", summary.connect_s, "s"),
        Figure("enrolled with certificates within", held.enrol_s, "s"),
        Figure("broker's memory a connection", broker_kb, "kB"),
        *(Figure(f"cores used by {name}", cores, "") for name, cores in held.cores.items()),
        *(Figure(f"most memory of {name}", mb, "MB") for name, mb in held.peak_mb.items()),
    ]
    if surge is not None:
        figures += [
            Figure("all reporting in one moment, p50", surge.percentile_s(0.5), "s"),
            Figure("all reporting in one moment, p99", surge.percentile_s(0.99), "s"),
        ]
    return figures
