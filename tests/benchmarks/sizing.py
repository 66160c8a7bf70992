"""What a fleet needs of a machine, at 10,000, 100,000 and 400,000 terminals, held for three minutes each.

As in `large_desk`: gateways of 200 terminals, ten metrics a minute, without a burst. Then connections alone, each with
mutual TLS. ``MINUTES=``, ``SIZES=`` and ``CONNECTIONS=`` change it; each size is kept as soon as it is measured
(``RESULTS=``), and a second run goes on with the next. `tests.benchmarks.sheet` makes the table of ``docs/sizing.md``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from device_agent.bootstrap import PACES
from fleet_server.health.rollups import Level, of_samples, pack_rows
from protocol.session import Profile
from simulators.load.fleet import FleetSize
from simulators.load.traffic import METRICS, Traffic, expected
from tests.benchmarks.desk import Desk, Held, hold, minutes
from tests.benchmarks.figures import Figure
from tests.benchmarks.large_desk import ATTACHED, FAULTS_PER_DEVICE_HOUR
from tests.benchmarks.results import Parameters, Results
from tests.benchmarks.wire_day import Day, flow_of

SIZES = tuple(int(size) for size in os.environ.get("SIZES", "10000,100000,400000").split(","))
CONNECTIONS = tuple(int(count) for count in os.environ.get("CONNECTIONS", "1000,10000").split(","))
USUAL_MINUTES = 3.0
MONTH_DAYS = 30.4
PARTS = ("broker", "ingest", "scheduler", "api", "database")
# A row of PostgreSQL beside its packed buckets: header, key and moments, and its entry in the primary key.
_ROW_BYTES = 160
_ROLLUP_DAYS = 24


def measure(folder: Path) -> list[Figure]:
    results = Results()
    figures: list[Figure] = []
    for terminals in SIZES:
        links = -(-terminals // ATTACHED)
        size = FleetSize(links, min(terminals, ATTACHED))
        known = results.once("sizing", parameters(terminals), partial(of_fleet, folder, size))
        figures += _named(known.figures, f"{terminals:,} terminals")
    for count in CONNECTIONS:
        known = results.once("connections", parameters(count), partial(of_connections, folder, count))
        figures += _named(known.figures, f"{count:,} connections")
    traffic = results.once("traffic", {}, of_traffic)
    return figures + traffic.figures


def parameters(count: int) -> Parameters:
    return {"count": count, "minutes": minutes(USUAL_MINUTES), "ingest": _ingest()}


def of_fleet(folder: Path, size: FleetSize) -> list[Figure]:
    seconds = minutes(USUAL_MINUTES) * 60
    traffic = Traffic(report_s=60, sample_s=60, faults_per_device_hour=FAULTS_PER_DEVICE_HOUR)
    desk = Desk(size, traffic, seconds, ingest=_ingest())
    return figures_of(hold(folder / f"fleet{size.terminals}", desk), size.terminals)


def of_connections(folder: Path, count: int) -> list[Figure]:
    desk = Desk(FleetSize(count, 0), Traffic(report_s=60, sample_s=10), minutes(USUAL_MINUTES) * 60, ingest=_ingest())
    held = hold(folder / f"connections{count}", desk)
    return [
        *_kept_whole(held),
        Figure("connected and welcomed within", held.summary.connect_s, "s"),
        Figure("record to acknowledgement, p99", held.summary.ack_p99_s, "s"),
        Figure("cores, broker", held.cores.get("broker", 0.0), ""),
        Figure("memory, broker", held.peak_mb.get("broker", 0.0), "MB"),
        Figure("memory of the broker a connection", held.peak_mb.get("broker", 0.0) * 1024 / count, "kB"),
    ]


def figures_of(held: Held, terminals: int) -> list[Figure]:
    rollups_gb = sum(rollup_bytes_day().values()) * terminals / 2**30
    links = held.cores.get("links", 0.0)
    return [
        *_kept_whole(held),
        Figure("points", held.points_s, "/s"),
        Figure("record to acknowledgement, p99", held.summary.ack_p99_s, "s"),
        *(Figure(f"cores, {part}", held.cores.get(part, 0.0), "") for part in PARTS),
        Figure("cores, all of the server", sum(held.cores.get(part, 0.0) for part in PARTS), ""),
        Figure("cores, simulated links on the same machine", links, ""),
        *(Figure(f"memory, {part}", held.peak_mb.get(part, 0.0), "MB") for part in PARTS),
        Figure("disk a day, samples and timeline", held.disk_mb_day / 1024, "GB"),
        Figure("disk a day, rollups", rollups_gb, "GB"),
        Figure("disk once, devices and newest values", held.standing_mb / 1024, "GB"),
        Figure("write-ahead log a day", held.wal_mb_day / 1024, "GB"),
        Figure("payloads and topics on the wire a month", held.wire_bytes_s * 86_400 * MONTH_DAYS / 2**30, "GB"),
        Figure("enrolled within", held.enrol_s, "s"),
    ]


def of_traffic() -> list[Figure]:
    figures = []
    for profile in (Profile.METERED, Profile.UNMETERED):
        day = Day(flow_of(profile))
        day.run()
        report_s = PACES[profile][2]
        name = f"traffic a month of a terminal, {profile.value} (a report each {report_s:g} s)"
        figures.append(Figure(name, day.total_bytes * MONTH_DAYS / 2**20, "MB"))
    return figures


def rollup_bytes_day() -> Mapping[Level, float]:
    """What the product's own rollups of a terminal take a day: they are made hours after the samples."""
    at_ms = np.arange(0, _ROLLUP_DAYS * 86_400_000, 60_000, dtype=np.int64)
    series = np.repeat(np.arange(len(METRICS), dtype=np.int64), len(at_ms))
    values = np.array(
        [expected(1, place, int(at), 60_000) for place in range(len(METRICS)) for at in at_ms], dtype=np.float64
    )
    found = {}
    for level in Level:
        buckets = of_samples(series, np.tile(at_ms, len(METRICS)), values, level.bucket_ms)
        starts = np.searchsorted(buckets.series, np.arange(len(METRICS) + 1)).tolist()
        whole = [(METRICS[place][0], slice(starts[place], starts[place + 1])) for place in range(len(METRICS))]
        rows = max(1.0, _ROLLUP_DAYS * 86_400_000 / level.span_ms)
        taken = len(pack_rows(buckets, [whole])[0]) + rows * _ROW_BYTES
        found[level] = taken / _ROLLUP_DAYS
    return found


def _kept_whole(held: Held) -> list[Figure]:
    """A machine that loses something is too small, whatever else it shows."""
    found = held.read_back
    wrong = found.wrong + found.missing + found.doubled
    return [
        Figure("records not acknowledged in the end", held.summary.lost, "", "0"),
        Figure("samples that the links had to pass over", held.summary.samples_passed_over, "", "0"),
        Figure(
            "samples and faults missing in the database or twice in it", held.samples_off + held.faults_off, "", "0"
        ),
        Figure("points read back that were wrong, missing or twice", wrong, "", "0"),
        Figure("connections lost", held.summary.losses, "", "0"),
    ]


def _named(figures: list[Figure], what: str) -> list[Figure]:
    return [Figure(f"{one.name}, {what}", one.value, one.unit, one.goal) for one in figures]


def _ingest() -> int:
    return int(os.environ.get("INGEST", "1"))
