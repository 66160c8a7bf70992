"""CPU that ingest needs for the reports of one check, beside the bare driver writing the same rows in the same run.

A check is one batch of three records (running, verdict, succeeded) that finds its execution published: decoded, stored,
committed and answered with a signed acknowledgement, everything but MQTT. The floor decodes the same batch and writes
the same rows with hand-written statements. CPU of this process alone is counted: waiting for a disk or a server costs
none.
"""

from __future__ import annotations

import gc
import sqlite3
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import cast

import msgspec
import psycopg
from sqlalchemy import Engine, insert

from fleet_server.db import open_engine, transaction
from fleet_server.executions.models import Execution
from fleet_server.ingest.answers import Answers, Publication
from fleet_server.ingest.door import Door, Taken
from fleet_server.ingest.worker import Worker
from fleet_server.kit.times import utc_now
from fleet_server.mqtt import Received
from protocol import codec
from protocol.executions import ExecutionState
from protocol.identifiers import LinkId
from protocol.records import ExecutionReport, Outcome, Record, RecordBody, Verdict
from protocol.signing import SigningKey
from protocol.streams import Batch
from protocol.topics import Up, up
from tests.benchmarks.bare_check import bare_postgres, bare_sqlite
from tests.benchmarks.figures import Figure
from tests.support.engines import migrated_postgres, migrated_sqlite, postgres_url
from tests.support.fleet_rows import GATEWAY, PRINTER, TENANT, make_fleet
from tests.support.ingest_worker import NothingToSend
from tests.support.postgres import binaries

CHECKS = 200
ROUNDS = 3
_STREAM = "3" * 32
_RECORDS = 3


class OneByOne:
    """A door through which each message comes alone, as the answer to a check that somebody waits for does."""

    def __init__(self, messages: Sequence[Received]) -> None:
        self._coming = iter([Taken(message, 1) for message in messages])
        self.dropped = 0
        self.is_open = self.has_room = True
        self.acknowledged = 0

    def take(self, _wait_s: float) -> list[Taken]:
        return [next(self._coming)]

    def publish(self, messages: Sequence[Publication]) -> None:
        """What it costs to hand a message to paho is not counted."""

    def acknowledge(self, taken: Sequence[Taken]) -> None:
        self.acknowledged += len(taken)

    def idle(self, wait_s: float) -> None:
        raise RuntimeError(f"the database was away and {wait_s} s of waiting would spoil the figure")

    def close(self) -> None:
        self.is_open = False


def messages_of(executions: Sequence[str], first_seq: int) -> Iterator[Received]:
    for place, execution in enumerate(executions):
        now_ms = int(time.time() * 1000)
        bodies: list[RecordBody] = [
            ExecutionReport(execution, ExecutionState.RUNNING),
            Verdict("printer.status", Outcome.PASS, execution=execution, item="paper", value=1, unit="state"),
            ExecutionReport(execution, ExecutionState.SUCCEEDED, outcome=Outcome.PASS),
        ]
        records = [msgspec.Raw(codec.to_json(Record(PRINTER, "ab" * 16, now_ms, now_ms, body))) for body in bodies]
        payload = codec.to_json(Batch(_STREAM, first_seq + place * _RECORDS, records))
        yield Received(up(LinkId(GATEWAY), Up.URGENT), payload, None, 1, place % 60_000 + 1)


def publish_executions(engine: Engine, names: Sequence[str]) -> None:
    now = utc_now()
    row = {
        "tenant_id": TENANT,
        "device_id": PRINTER,
        "link_id": GATEWAY,
        "action": "printer.status",
        "kind": "check",
        "danger_class": 0,
        "params": {},
        "declared": {"name": "printer.status", "timeout_s": 10.0, "soak_s": 60.0},
        "actor": "bench",
        "state": ExecutionState.PUBLISHED.value,
        "created_at": now,
        "published_at": now,
        "queued_until": now + timedelta(minutes=10),
        "deadline_at": now + timedelta(seconds=20),
    }
    with transaction(engine) as session:
        session.execute(insert(Execution), [{**row, "id": name} for name in names])


def product(engine: Engine, round_: int) -> float:
    """CPU milliseconds a check."""
    names = [str(uuid.uuid4()) for _ in range(CHECKS)]
    publish_executions(engine, names)
    messages = list(messages_of(names, 1 + round_ * CHECKS * _RECORDS))
    door = OneByOne(messages)
    worker = _worker(engine, door)
    took_ms = _cpu_ms(worker.step, CHECKS)
    if worker.counters["records"] != CHECKS * _RECORDS:
        raise RuntimeError(f"expected {CHECKS * _RECORDS} records, stored {worker.counters['records']}")
    return took_ms


def _worker(engine: Engine, door: OneByOne) -> Worker:
    return Worker("bench", engine, cast("Door", door), Answers(SigningKey.from_seed(bytes(32)), "e"), NothingToSend())


def _cpu_ms(work: Callable[[], object], times: int) -> float:
    gc.collect()
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) * 1000 / times


def floor(store: Callable[[bytes], object], round_: int) -> float:
    names = [str(uuid.uuid4()) for _ in range(CHECKS)]
    payloads = iter([bytes(one.payload) for one in messages_of(names, 1 + round_ * CHECKS * _RECORDS)])
    return _cpu_ms(lambda: store(next(payloads)), CHECKS)


def compare(name: str, engine: Engine, store: Callable[[bytes], object]) -> list[Figure]:
    ours, floors = [], []
    for round_ in range(ROUNDS):
        floors.append(floor(store, round_))
        ours.append(product(engine, round_))
    ratio = statistics.median(one / least for one, least in zip(ours, floors, strict=True))
    return [
        Figure(f"CPU of ingest a check, {name}", statistics.median(ours), "ms"),
        Figure(f"CPU of the bare driver for the same rows, {name}", statistics.median(floors), "ms"),
        Figure(f"ingest beside the bare driver, {name}", ratio, "x"),
    ]


@contextmanager
def _sqlite(folder: Path) -> Iterator[tuple[Engine, Callable[[bytes], object]]]:
    with ExitStack() as stack:
        engine = open_engine(f"sqlite:///{migrated_sqlite(folder)}")
        stack.callback(engine.dispose)
        make_fleet(engine)
        bare = sqlite3.connect(folder / "floor.db", isolation_level=None)
        stack.callback(bare.close)
        yield engine, bare_sqlite(bare)


@contextmanager
def _postgres() -> Iterator[tuple[Engine, Callable[[bytes], object]]]:
    with ExitStack() as stack:
        server = stack.enter_context(migrated_postgres())
        url = stack.enter_context(postgres_url(server))
        engine = open_engine(url)
        stack.callback(engine.dispose)
        make_fleet(engine)
        bare = stack.enter_context(psycopg.connect(url.replace("+psycopg", "")))
        yield engine, bare_postgres(bare)


def measure(folder: Path) -> list[Figure]:
    with _sqlite(folder) as (engine, store):
        figures = compare("SQLite", engine, store)
    if binaries() is None:
        return figures
    with _postgres() as (engine, store):
        return figures + compare("PostgreSQL", engine, store)
