"""A desk of many terminals held for a while: real broker, server and PostgreSQL, simulated links, everything looked at.

What is told to be durable is asked for again afterwards: all samples of devices drawn by chance, through the HTTP API,
each compared with what that device must have measured then; and the database's own count of all samples and faults, of
which there must be neither fewer nor more than were said.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from simulators.api import ApiClient
from simulators.load.fleet import Bundle, FleetSize, read_bundles, read_policy
from simulators.load.run import LoadRun, Progress, Summary, talkers_of
from simulators.load.stage import Stage
from simulators.load.tally import Times
from simulators.load.traffic import Traffic, expected
from tests.benchmarks.machine import Machine
from tests.support.postgres import Durability, PostgresServer, binaries, running_postgres

# As `docs/sizing.md` advises for a fleet of some size; PostgreSQL comes with 128 MB and 1 GB.
TUNED = ("shared_buffers=2GB", "max_wal_size=8GB", "checkpoint_timeout=15min")
READ_BACK = 40
DRAIN_S = 180.0
_SEED = 11
# How far beside the device's clock the server may place a sample.
_BESIDE_MS = 2000
_DAY_S = 86_400
_LOOKS = 3
_LEAST_GROWTH_S = 30.0
# What a day adds to. All else is made once for each device and changed, or, as rollups, made hours later.
_GROWING = ("event", "fault", "record", "health_block")


def minutes(usual: float = 10.0) -> float:
    """``MINUTES=`` in the environment shortens a run."""
    return float(os.environ.get("MINUTES", usual))


@dataclass(frozen=True, slots=True)
class ReadBack:
    devices: int
    points: int
    wrong: int
    missing: int
    doubled: int


@dataclass(frozen=True, slots=True)
class Stored:
    """The database's own counts of all that was said."""

    samples: int
    faults: int
    raisings: int  # entries in the timeline

    def samples_off(self, summary: Summary, metrics: int) -> int:
        """Short of what was reported, or beyond it."""
        return abs(summary.points // metrics - self.samples)

    def faults_off(self, summary: Summary) -> int:
        return abs(summary.faults_raised - self.faults) + abs(summary.faults_raised - self.raisings)


@dataclass(slots=True)
class Held:
    """What a run showed."""

    summary: Summary
    enrol_s: float
    cores: dict[str, float]
    peak_mb: dict[str, float]
    disk_mb_day: float
    read_back: ReadBack
    stored: Stored
    wal_mb_day: float
    standing_mb: float  # in the end, of what no day adds to: devices, newest values, the database's own tables
    wire_bytes_s: float  # payloads and topics, both ways
    messages_s: float
    metrics: int
    surge: Times | None = None

    @property
    def points_s(self) -> float:
        return self.summary.points / self.summary.held_s

    @property
    def samples_off(self) -> int:
        return self.stored.samples_off(self.summary, self.metrics)

    @property
    def faults_off(self) -> int:
        return self.stored.faults_off(self.summary)


@dataclass(frozen=True, slots=True)
class Desk:
    size: FleetSize
    traffic: Traffic
    seconds: float
    ingest: int = 1
    has_surge: bool = False


def hold(folder: Path, desk: Desk) -> Held:
    bin_dir = binaries()
    if bin_dir is None:
        raise RuntimeError("PostgreSQL's server binaries (initdb, postgres) are not installed")
    with running_postgres(bin_dir, Durability.DISK, TUNED) as server:
        server.create("fleet")
        with Stage(folder, desk.size, database_url=server.url("fleet"), ingest=desk.ingest) as stage:
            began_s = time.monotonic()
            stage.enrol()
            enrol_s = time.monotonic() - began_s
            _say(f"{desk.size.terminals} terminals enrolled in {enrol_s:.0f} s")
            stage.start()
            return _hold(stage, server, desk, enrol_s)


def _hold(stage: Stage, server: PostgresServer, desk: Desk, enrol_s: float) -> Held:
    bundles = read_bundles(stage.agents, desk.size)
    run = LoadRun(bundles, read_policy(stage.policy), desk.traffic, tell=_tell)
    machine = Machine(stage.pids() | {"database": server.pid})
    counts = run.tally.counts
    sizes: list[tuple[float, int]] = []
    try:
        connect_s = run.connect()
        machine.begin()
        before = dict(counts)
        wal_before = _wal_bytes(server)
        held_s = run.talk(desk.seconds, lambda: _look(machine, server, sizes, desk))
        sizes.append((time.monotonic(), _growing_bytes(server)))
        cores, wal_bytes = machine.cores(), _wal_bytes(server) - wal_before
        spent = {name: counts[name] - before.get(name, 0) for name in counts}
        surge = run.surge(60.0) if desk.has_surge else None
        summary = run.summary(connect_s, held_s, run.drain(DRAIN_S))
        found = _read_back(stage, run, bundles, desk)
    finally:
        run.close()
    return Held(
        summary=summary,
        enrol_s=enrol_s,
        cores=cores,
        peak_mb=machine.peak_mb(),
        disk_mb_day=_growth_mb_day(sizes),
        read_back=found,
        stored=_stored(server),
        wal_mb_day=wal_bytes / held_s * _DAY_S / 2**20,
        standing_mb=(_count(server, "SELECT pg_database_size('fleet')") - _growing_bytes(server)) / 2**20,
        wire_bytes_s=(spent["published_bytes"] + spent["arrived_bytes"]) / held_s,
        messages_s=(spent["published"] + spent["arrived"]) / held_s,
        metrics=desk.traffic.metrics,
        surge=surge,
    )


def _look(machine: Machine, server: PostgresServer, sizes: list[tuple[float, int]], desk: Desk) -> None:
    machine.look()
    # From the second report of each device on: the first makes rows that later ones only change.
    if not sizes or (len(sizes) == 1 and time.monotonic() - sizes[0][0] > desk.traffic.report_s):
        sizes.append((time.monotonic(), _growing_bytes(server)))


def _growth_mb_day(sizes: Sequence[tuple[float, int]]) -> float:
    """From the second report of each device on to the end; not a number when it was over too soon to tell."""
    (from_s, before), (to_s, after) = sizes[-2:]
    if len(sizes) < _LOOKS or to_s - from_s < _LEAST_GROWTH_S:
        return float("nan")
    return (after - before) / (to_s - from_s) * _DAY_S / 2**20


def _growing_bytes(server: PostgresServer) -> int:
    """Partitions with their tables: they lie in a schema of their own."""
    names = "|".join(_GROWING)
    return _count(
        server,
        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "  # noqa: S608 - our own names
        "WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'health_parts'::regnamespace) "
        f"AND relname ~ '^({names})(_[0-9]+|_rest)?$'",
    )


def _wal_bytes(server: PostgresServer) -> int:
    return _count(server, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")


def _stored(server: PostgresServer) -> Stored:
    return Stored(
        samples=_count(server, "SELECT coalesce(sum(steps), 0) FROM health_block"),
        faults=_count(server, "SELECT count(*) FROM fault"),
        raisings=_count(server, "SELECT count(*) FROM event WHERE type = 'fault_raised'"),
    )


def _count(server: PostgresServer, question: str) -> int:
    with psycopg.connect(host=str(server.socket_dir), user="tillmedic", dbname="fleet") as link:
        row = link.execute(question.encode()).fetchone()
    return int(row[0]) if row else 0


def _read_back(stage: Stage, run: LoadRun, bundles: Sequence[Bundle], desk: Desk) -> ReadBack:
    """Raises ``AssertionError`` when there is nothing to compare: such a run would show nothing."""
    installation = stage.installation
    api = ApiClient(installation.local_url, installation.api_token, installation.ca_file)
    chance = random.Random(_SEED)
    traffic = desk.traffic
    points = wrong = missing = doubled = 0
    for _ in range(READ_BACK):
        place = chance.randrange(len(bundles))
        talker = chance.choice(talkers_of(place, bundles[place]))
        metric = chance.randrange(traffic.metrics)
        name = traffic.metric_names[metric]
        said = run.links[place].said()
        if not said:
            raise AssertionError("expected every link to have reported by now, came one that has not: hold it longer")
        span = f"from={_moment(said[0] - _BESIDE_MS)}&to={_moment(said[-1] + traffic.sample_ms - _BESIDE_MS)}"
        course = _course(api.get(f"/api/v1/devices/{talker.device}/health?metrics={name}&{span}")["items"], name)
        found = Counter(_on_grid(at, traffic.sample_ms) for at, _ in course)
        points += len(course)
        missing += sum(at_ms not in found for at_ms in said)
        doubled += sum(times - 1 for times in found.values())
        wrong += sum(
            value != expected(talker.number, metric, _on_grid(at, traffic.sample_ms), traffic.sample_ms)
            for at, value in course
        )
    return ReadBack(READ_BACK, points, wrong, missing, doubled)


def _moment(at_ms: int) -> str:
    return quote(datetime.fromtimestamp(at_ms / 1000, UTC).isoformat())


def _course(items: Sequence[dict[str, Any]], name: str) -> list[tuple[str, float]]:
    return [(at, value) for item in items if item["metric"] == name for at, value in item["points"]]


def _on_grid(at: str, sample_ms: int) -> int:
    """The server places samples by its own clock, a little beside the device's."""
    return round(datetime.fromisoformat(at).timestamp() * 1000 / sample_ms) * sample_ms


def _tell(one: Progress) -> None:
    _say(
        f"{one.elapsed_s:6.0f} s {one.phase:<10} {one.connected} connected, {one.acked_per_s:.0f} of"
        f" {one.made_per_s:.0f}/s acknowledged, p99 {one.ack_p99_s:.2f} s, {one.open_records} open, {one.resent} again"
    )


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
