"""Points of metrics made durable a second: records of 60 samples of 10 metrics, one a message, as a till sends them
each hour, deflated. Latest values are kept up and rollups made in the same time; then everything is read back.

Sender, broker, ingest, folding and database are processes of their own on the same cores, running before the first
message as in an installation. Two rates: until the last message is committed, from when on all of it can be read
at every resolution, and until the last block is folded too.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

import msgspec
from sqlalchemy import func, select

from fleet_server.db import open_engine, reading, transaction
from fleet_server.health.folding import count_unfolded
from fleet_server.health.latest import FOLD_AFTER
from fleet_server.health.models import HealthBlock
from fleet_server.health.repository import HealthRepository
from fleet_server.health.service import HealthService
from fleet_server.kit.times import utc_now
from protocol import codec
from protocol.identifiers import LinkId
from protocol.streams import Batch
from tests.benchmarks.blast import Sender
from tests.benchmarks.figures import Figure
from tests.benchmarks.ingest_pipe import Run, product_pipe, run_pipe
from tests.support.broker import Broker, running_broker
from tests.support.engines import migrated_postgres, migrated_sqlite, postgres_url
from tests.support.fleet_rows import TENANT, device, make_fleet
from tests.support.health_blocks import fold_due
from tests.support.ingest_worker import settings_for
from tests.support.postgres import Durability, PostgresServer, binaries

LINKS = int(os.environ.get("LINKS", "100"))
MESSAGES = int(os.environ.get("MESSAGES", "40000"))
WORKERS = int(os.environ.get("WORKERS", "2"))
SERVICES = ("svc-fleet-1", "svc-fleet-2")
ROUNDS = int(os.environ.get("ROUNDS", "3"))
STEPS = 60
# Where each starts, how far a sample is from the last one, and its decimals.
METRICS = {
    "batt.level_pct": (80, 0.3, 0),
    "batt.temp_c": (31, 0.2, 1),
    "batt.volt_mv": (3900, 4, 0),
    "sys.cpu_pct": (20, 3, 1),
    "sys.mem_avail_pct": (45, 0.5, 1),
    "sys.storage_free_pct": (40, 0.01, 1),
    "sys.temp_c": (41, 0.3, 1),
    "net.rtt_ms": (55, 8, 0),
    "modem.rsrp_dbm": (-92, 1, 0),
    "agent.queue_depth": (0, 0.4, 0),
}
POINTS = STEPS * len(METRICS)
_HOURS_OF_PAST = 24 * 60
_DIFFERENT = 300
OnDatabase = Callable[[Broker, Path, int], tuple[Run, float]]
_SPAWN = multiprocessing.get_context("spawn")


def link(number: int) -> LinkId:
    return LinkId(f"d-sender{number:010d}")


def columns(seed: int) -> dict[str, list[float]]:
    """Walks that stay near where they start."""
    dice = random.Random(seed)
    made = {}
    for metric, (start, stride, decimals) in METRICS.items():
        value, walk = float(start), []
        for _ in range(STEPS):
            value += dice.uniform(-stride, stride) + (start - value) * 0.05
            walk.append(round(value, decimals) if decimals else float(round(value)))
        made[metric] = walk
    return made


def as_sent(walks: dict[str, list[float]]) -> bytes:
    """JSON in which whole numbers have no point."""
    whole = {metric: [int(one) if one.is_integer() else one for one in walk] for metric, walk in walks.items()}
    return codec.to_json(whole)


def payloads(number: int, stream: str, until_ms: int, pool: Sequence[bytes]) -> list[bytes]:
    """The last hours of a till, oldest first."""
    count = MESSAGES // LINKS
    made = []
    for seq in range(1, count + 1):
        start_ms = start_of(seq, count, until_ms)
        wall_ms = start_ms + STEPS * 60_000
        body = b'{"kind":"health_columns","start_ms":%d,"step_ms":60000,"steps":%d,"columns":%s}'
        record = b'{"device":"%s","boot":"%s","mono_ms":%d,"wall_ms":%d,"body":%s}' % (
            link(number).encode(),
            b"ab" * 16,
            seq,
            wall_ms,
            body % (start_ms, STEPS, pool[(number * 7 + seq) % len(pool)]),
        )
        made.append(codec.encode(Batch(stream, seq, [msgspec.Raw(record)]), deflate=True).payload)
    return made


def start_of(seq: int, count: int, until_ms: int) -> int:
    # Who sends more than the past has hours sends some hours twice, as after a second stream.
    return until_ms - ((count - seq) % _HOURS_OF_PAST + 1) * STEPS * 60_000


def senders_on(broker: Broker, seed: int, until_ms: int, pool: Sequence[bytes]) -> list[Sender]:
    made = []
    for number in range(LINKS):
        sent = payloads(number, f"{seed:x}{number:031x}", until_ms, pool)
        made.append(Sender(link(number), broker.link(link(number)), sent, codec.JSON_DEFLATE))
    return made


def fold_on(url: str, ready: Event, stop: Event, used_s: Synchronized[float]) -> None:
    """Target of a process: the scheduler's chore, each second what is due. ``used_s``: its CPU time for that."""
    engine = open_engine(url)
    fold_due(engine, TENANT, utc_now())
    began_s = time.process_time()
    ready.set()
    while True:
        is_last = stop.is_set()
        now = utc_now() + (FOLD_AFTER if is_last else timedelta())
        done = fold_due(engine, TENANT, now)
        if not done.more:
            if is_last:
                break
            stop.wait(1.0)
    engine.dispose()
    used_s.value = time.process_time() - began_s


def measured(broker: Broker, folder: Path, url: str, database: int, seed: int) -> tuple[Run, float]:
    """The run, and points a second with the folding of the last block."""
    pool = [as_sent(columns(one)) for one in range(_DIFFERENT)]
    until_ms = int(time.time() * 1000) // 3_600_000 * 3_600_000
    engine = open_engine(url)
    make_fleet(engine)
    with transaction(engine) as session:
        session.add_all([device(link(number), "site-default", "terminal") for number in range(LINKS)])
    senders = senders_on(broker, seed, until_ms, pool)
    total = sum(len(one.payloads) for one in senders)
    ready, stop, used_s = _SPAWN.Event(), _SPAWN.Event(), _SPAWN.Value("d", 0.0)
    folding = _SPAWN.Process(target=fold_on, args=(url, ready, stop, used_s))
    folding.start()
    try:
        if not ready.wait(60):
            raise RuntimeError("the folding process did not begin")
        settings = settings_for(broker, folder, url)
        pipes = [(product_pipe, (settings, name)) for name in SERVICES[:WORKERS]]
        run = run_pipe(broker, pipes, senders, database)
        ended_s = time.monotonic()
        stop.set()
        folding.join(120)
        with_folding_s = total / run.per_s + time.monotonic() - ended_s
    finally:
        folding.kill()
    check(url, total, until_ms)
    engine.dispose()
    used = {**run.cpu_us, "folding": used_s.value * 1e6 / total}
    return dataclasses.replace(run, cpu_us=used), total * POINTS / with_folding_s


def check(url: str, total: int, until_ms: int) -> None:
    """Everything is there, folded, and reads as it was sent, at every resolution."""
    engine = open_engine(url)
    count = MESSAGES // LINKS
    with reading(engine) as session:
        assert session.execute(select(func.count()).select_from(HealthBlock)).scalar_one() == total
        assert count_unfolded(session) == 0
        service = HealthService(HealthRepository(session, TENANT))
        for number in (0, LINKS // 2, LINKS - 1):
            for seq in {1, count // 2 + 1, count}:
                start_ms = start_of(seq, count, until_ms)
                begin = datetime.fromtimestamp(start_ms / 1000, UTC)
                sent = columns((number * 7 + seq) % _DIFFERENT)
                samples = service.range(link(number), METRICS, begin, begin + timedelta(hours=1))
                assert {metric: [value for _, value in points] for metric, points in samples.items()} == sent
                hours = service.course(link(number), METRICS, begin, begin + timedelta(days=12), 300)
                for metric, course in hours.of.items():
                    first, values = course.extents[0], sent[metric]
                    assert (first.low, first.high, first.count) == (min(values), max(values), STEPS)
                    assert abs(float(course.points[0][1]) - statistics.fmean(values)) < 1e-9
            newest = {one.metric: one.number for one in service.latest(link(number))}
            assert newest == {metric: walk[-1] for metric, walk in columns((number * 7 + count) % _DIFFERENT).items()}
    engine.dispose()


def figures_of(name: str, rounds: Sequence[tuple[Run, float]], goal: str) -> list[Figure]:
    rate = statistics.median(run.per_s for run, _ in rounds)
    return [
        Figure(f"metric points durable on {name}", rate * POINTS, "/s", goal),
        Figure(f"the same with all rollups folded, {name}", statistics.median(rate for _, rate in rounds), "/s"),
        *(
            Figure(f"CPU of {part} a record of {POINTS} points, {name}", value, "us")
            for part, value in rounds[-1][0].cpu_us.items()
        ),
    ]


def on_postgres(server: PostgresServer, broker: Broker, folder: Path, seed: int) -> tuple[Run, float]:
    with postgres_url(server) as url:
        return measured(broker, folder, url, server.pid, seed)


def on_sqlite(broker: Broker, folder: Path, seed: int) -> tuple[Run, float]:
    return measured(broker, folder, f"sqlite:///{migrated_sqlite(folder)}", 0, seed)


def measure(folder: Path) -> list[Figure]:
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(folder / "broker"))
        figures: list[Figure] = []
        if binaries() is not None:
            server = stack.enter_context(migrated_postgres(Durability.DISK))
            figures = _rounds("PostgreSQL", partial(on_postgres, server), broker, folder, "at least 3,000,000 /s")
        return figures + _rounds("SQLite", on_sqlite, broker, folder, "")


def _rounds(name: str, run: OnDatabase, broker: Broker, folder: Path, goal: str) -> list[Figure]:
    rounds = []
    for number in range(ROUNDS):
        place = folder / f"{name}{number}"
        place.mkdir()
        rounds.append(run(broker, place, number))
    return figures_of(name, rounds, goal)
