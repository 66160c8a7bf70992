"""400,000 terminals on 2,000 gateways, ten metrics a minute each, and a holiday's tenfold faults in the second third.

67,000 points a second, each readable by device, metric and time; held for ten minutes (``MINUTES=``) on PostgreSQL.
``LINKS=`` makes the desk smaller, ``REPORT=`` is how many seconds lie between two reports of a terminal (60; a sample a
minute in any case), ``INGEST=`` processes of ingest (1).
"""

from __future__ import annotations

import os
from pathlib import Path

from simulators.load.fleet import FleetSize
from simulators.load.traffic import Traffic
from tests.benchmarks.desk import Desk, Held, hold, minutes
from tests.benchmarks.figures import Figure

LINKS = 2000
ATTACHED = 200
# Of a terminal one in a day and a half.
FAULTS_PER_DEVICE_HOUR = 0.03
BURST = 10.0


def desk_of(links: int, attached: int, seconds: float) -> Desk:
    traffic = Traffic(
        report_s=float(os.environ.get("REPORT", "60")),
        sample_s=60,
        faults_per_device_hour=FAULTS_PER_DEVICE_HOUR,
        burst_factor=BURST,
        burst_from_s=seconds / 3,
        burst_for_s=seconds / 3,
    )
    return Desk(FleetSize(links, attached), traffic, seconds, ingest=int(os.environ.get("INGEST", "1")))


def measure(folder: Path) -> list[Figure]:
    links = int(os.environ.get("LINKS", LINKS))
    return figures_of(hold(folder / "desk", desk_of(links, ATTACHED, minutes() * 60)))


def figures_of(held: Held) -> list[Figure]:
    summary, found = held.summary, held.read_back
    return [
        Figure("terminals of the desk", summary.devices, ""),
        Figure("held for", summary.held_s / 60, "min", "10 min"),
        Figure("points reported", held.points_s, "/s", "67,000 at 400,000 terminals"),
        Figure("records acknowledged", summary.acked, ""),
        Figure("records not acknowledged in the end", summary.lost, "", "0"),
        Figure("samples that the links had to pass over", summary.samples_passed_over, "", "0"),
        Figure("faults raised", summary.faults_raised, ""),
        Figure("samples missing in the database or twice in it", held.samples_off, "", "0"),
        Figure("faults missing in the database or twice in it", held.faults_off, "", "0"),
        Figure("points read back", found.points, ""),
        Figure(
            "points read back that were wrong, missing or twice", found.wrong + found.missing + found.doubled, "", "0"
        ),
        Figure("record to acknowledgement, p50", summary.ack_p50_s, "s"),
        Figure("record to acknowledgement, p99", summary.ack_p99_s, "s"),
        Figure("fault to acknowledgement, p99", summary.urgent_ack_p99_s, "s"),
        Figure("enrolled within", held.enrol_s, "s"),
        Figure("connected and welcomed within", summary.connect_s, "s"),
        Figure("disk a day", held.disk_mb_day / 1024, "GB"),
        *(Figure(f"cores used by {name}", cores, "") for name, cores in held.cores.items()),
        *(Figure(f"most memory of {name}", mb, "MB") for name, mb in held.peak_mb.items()),
    ]
