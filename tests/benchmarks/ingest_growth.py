"""What a message costs ingest as the fleet grows: processor time of the worker, from 100 known devices to 100,000.

Each flush takes one report each of ``FLUSH`` devices, the next flush the next devices, so that the same number of rows
is touched however large the fleet is. Each device has reported before, and what a worker remembers for seconds only
(that a device was heard, how its link stands) it has forgotten by then, as when each reports once a minute. Everything
but MQTT is done: decoding, storing, committing, signing. Time of PostgreSQL itself is a figure of its own.
"""

from __future__ import annotations

import gc
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import msgspec
import psutil
from sqlalchemy import Engine, insert

from fleet_server.db import open_engine, transaction
from fleet_server.devices.models import Device
from fleet_server.ingest.answers import Answers, Publication
from fleet_server.ingest.door import Door, Taken
from fleet_server.ingest.worker import Worker
from fleet_server.mqtt import Received
from protocol import codec
from protocol.identifiers import LinkId
from protocol.records import HealthColumns, Record
from protocol.signing import SigningKey
from protocol.streams import Batch
from protocol.topics import Up, up
from tests.benchmarks.figures import Figure
from tests.support.engines import migrated_postgres, migrated_sqlite, postgres_url
from tests.support.fleet_rows import device, make_fleet
from tests.support.ingest_worker import NothingToSend
from tests.support.postgres import Durability, binaries

SIZES = [int(size) for size in os.environ.get("SIZES", "100,1000,10000,100000").split(",")]
FLUSH = 100
FLUSHES = int(os.environ.get("FLUSHES", "200"))
STEPS = int(os.environ.get("STEPS", "1"))
_METRICS = [f"batt.{name}" for name in ("level_pct", "temp_c", "volt_mv", "health_pct")] + [
    f"sys.{name}" for name in ("cpu_pct", "mem_avail_pct", "storage_free_pct", "temp_c", "clock_drift_s", "load1")
]


class PreparedDoor:
    """A door through which a flush of prepared messages comes at a time."""

    def __init__(self, flushes: Iterator[list[Taken]]) -> None:
        self.coming = flushes
        self.dropped = 0
        self.is_open = self.has_room = True

    def take(self, _wait_s: float) -> list[Taken]:
        return next(self.coming, [])

    def publish(self, messages: Sequence[Publication]) -> None:
        """What it costs to write to the broker is not counted."""

    def acknowledge(self, taken: Sequence[Taken]) -> None:
        """As above."""

    def idle(self, wait_s: float) -> None:
        raise RuntimeError(f"the database was away and {wait_s} s of waiting would spoil the figure")

    def close(self) -> None:
        self.is_open = False


def link(number: int) -> LinkId:
    return LinkId(f"d-grown{number:010d}")


def make_links(engine: Engine, first: int, last: int) -> None:
    plain = [device(link(number), "site-default", "terminal").model_dump() for number in range(first, last)]
    with transaction(engine) as session:
        for begin in range(0, len(plain), 5000):
            session.execute(insert(Device), plain[begin : begin + 5000])


def flushes(size: int, seqs: dict[int, int], count: int) -> Iterator[list[Taken]]:
    numbers = itertools.cycle(range(size))
    for _ in range(count):
        yield [Taken(report(next(numbers), seqs), 1) for _ in range(FLUSH)]


def report(number: int, seqs: dict[int, int]) -> Received:
    now_ms = int(time.time() * 1000)
    seq = seqs[number] = seqs.get(number, 0) + 1
    columns: dict[str, list[float | int | str | None]] = {
        name: [20.5 + (seq + step) % 7 for step in range(STEPS)] for name in _METRICS
    }
    body = HealthColumns(start_ms=now_ms - STEPS * 1000, step_ms=1000, steps=STEPS, columns=columns)
    record = Record(device=link(number), boot="ab" * 16, mono_ms=now_ms, wall_ms=now_ms, body=body)
    payload = codec.encode(Batch(f"{number:032x}", seq, [msgspec.Raw(codec.to_json(record))]), deflate=STEPS > 1)
    return Received(up(link(number), Up.BULK), payload.payload, payload.content_type, 1, 1)


def cost_us(engine: Engine, size: int, seqs: dict[int, int], server: psutil.Process | None) -> tuple[float, float]:
    """Processor time a message, of the worker and of PostgreSQL."""
    before = max(20, size // FLUSH)
    prepared = flushes(size, seqs, before)
    door = PreparedDoor(prepared)
    answers = Answers(SigningKey.from_seed(bytes(32)), "e" * 32)
    worker = Worker("bench", engine, cast("Door", door), answers, NothingToSend())
    for _ in range(before):
        worker.step()
    measured = list(flushes(size, seqs, FLUSHES))
    door.coming = iter(measured)
    gc.collect()
    of_server, began = _of_server(server), time.process_time()
    for _ in range(FLUSHES):
        worker._heard._touched_s.clear()
        worker._directory._fresh_s = 0.0
        worker.step()
    took, of_server = time.process_time() - began, _of_server(server) - of_server
    if worker.counters["records"] != (before + FLUSHES) * FLUSH:
        raise RuntimeError(f"expected {(before + FLUSHES) * FLUSH} records, stored {worker.counters['records']}")
    messages = FLUSHES * FLUSH
    return took * 1e6 / messages, of_server * 1e6 / messages


def _of_server(server: psutil.Process | None) -> float:
    if server is None:
        return 0.0
    return sum(sum(one.cpu_times()[:2]) for one in [server, *server.children()] if one.is_running())


def compare(name: str, engine: Engine, server: psutil.Process | None) -> list[Figure]:
    figures, known, seqs = [], 0, dict[int, int]()
    make_fleet(engine)
    costs = []
    for size in SIZES:
        make_links(engine, known, size)
        known = size
        cost, of_server = cost_us(engine, size, seqs, server)
        costs.append(cost + of_server)
        figures.append(Figure(f"CPU of ingest a message with {size:,} devices, {name}", cost, "us"))
        if server is not None:
            figures.append(Figure(f"CPU of PostgreSQL a message with {size:,} devices", of_server, "us"))
    figures.append(Figure(f"the largest fleet beside the smallest, {name}", costs[-1] / costs[0], "x", "at most 1.1x"))
    return figures


def measure(folder: Path) -> list[Figure]:
    with ExitStack() as stack:
        engine = open_engine(f"sqlite:///{migrated_sqlite(folder)}")
        stack.callback(engine.dispose)
        figures = compare("SQLite", engine, None)
        if binaries() is None:
            return figures
        server = stack.enter_context(migrated_postgres(Durability.DISK))
        engine = open_engine(stack.enter_context(postgres_url(server)))
        stack.callback(engine.dispose)
        return figures + compare("PostgreSQL", engine, psutil.Process(server.pid))
