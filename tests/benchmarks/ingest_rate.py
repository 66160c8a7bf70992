"""Messages made durable per second on SQLite (``synchronous=FULL``) and PostgreSQL, beside bare pipes in the same run.

Each message is one batch of one health record with 10 columns, MQTT QoS 1 over TLS, from a hundred links as fast as the
other end stores them. Sender, broker, pipe and database are processes of their own. The floors do the least that makes
such a message durable (`tests.benchmarks.bare_pipe`): paho or raw packets, decode, one bulk statement a batch, PUBACK
after the commit. All read the same kind of shared subscription on the same broker.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from fleet_server.db import open_engine, transaction
from protocol import codec
from protocol.identifiers import LinkId
from protocol.records import HealthColumns, Record
from protocol.streams import Batch
from tests.benchmarks.bare_ingest import bare_postgres, bare_sqlite
from tests.benchmarks.bare_pipe import paho_pipe, raw_pipe
from tests.benchmarks.blast import Sender
from tests.benchmarks.figures import Figure
from tests.benchmarks.ingest_pipe import Run, product_pipe, run_pipe
from tests.support.broker import Broker, running_broker
from tests.support.engines import migrated_postgres, migrated_sqlite, postgres_url
from tests.support.fleet_rows import device, make_fleet
from tests.support.ingest_worker import SERVICE, settings_for
from tests.support.postgres import Durability, PostgresServer, binaries

LINKS = int(os.environ.get("LINKS", "100"))
MESSAGES = int(os.environ.get("MESSAGES", "40000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
METRICS = [f"batt.{name}" for name in ("level_pct", "temp_c", "volt_mv", "health_pct")] + [
    f"sys.{name}" for name in ("cpu_pct", "mem_avail_pct", "storage_free_pct", "temp_c", "clock_drift_s", "load1")
]


def link(number: int) -> LinkId:
    return LinkId(f"d-sender{number:010d}")


def senders_on(broker: Broker, seed: int) -> list[Sender]:
    return [
        Sender(link(number), broker.link(link(number)), payloads(number, f"{seed:x}{number:031x}"))
        for number in range(LINKS)
    ]


def payloads(number: int, stream: str) -> list[bytes]:
    now_ms = int(time.time() * 1000)
    made = []
    for seq in range(1, MESSAGES // LINKS + 1):
        columns: dict[str, list[float | int | str | None]] = {name: [20.5 + seq % 7] for name in METRICS}
        body = HealthColumns(start_ms=now_ms + seq, step_ms=1000, steps=1, columns=columns)
        record = Record(device=link(number), boot="ab" * 16, mono_ms=seq, wall_ms=now_ms + seq, body=body)
        made.append(codec.to_json(Batch(stream, seq, [msgspec.Raw(codec.to_json(record))])))
    return made


def make_links(url: str) -> None:
    engine = open_engine(url)
    make_fleet(engine)
    with transaction(engine) as session:
        for number in range(LINKS):
            session.add(device(link(number), "site-default", "terminal"))
    engine.dispose()


@dataclass(slots=True)
class Round:
    """The pipes of one database, one after the other on the same broker."""

    broker: Broker
    folder: Path
    seed: int

    def run(self, url: str, bare: Any, pid: int) -> dict[str, Run]:
        files, place = self.broker.service(SERVICE), (self.broker.host, self.broker.port)
        make_links(url)
        senders = senders_on(self.broker, self.seed)
        return {
            "paho": run_pipe(self.broker, [(paho_pipe, (*place, files, bare))], senders, pid),
            "product": run_pipe(
                self.broker, [(product_pipe, (settings_for(self.broker, self.folder, url), SERVICE))], senders, pid
            ),
            "raw": run_pipe(self.broker, [(raw_pipe, (*place, files, bare))], senders, pid),
        }

    def on_sqlite(self) -> dict[str, Run]:
        return self.run(f"sqlite:///{migrated_sqlite(self.folder)}", partial(bare_sqlite, self.folder), 0)

    def on_postgres(self, server: PostgresServer) -> dict[str, Run]:
        with postgres_url(server) as url:
            return self.run(url, partial(bare_postgres, url), server.pid)


def figures_of(name: str, rounds: Sequence[dict[str, Run]], goal: str, goal_raw: str) -> list[Figure]:
    def median(pipe: str) -> float:
        return statistics.median(one[pipe].per_s for one in rounds)

    def beside(floor: str) -> float:
        return statistics.median(one["product"].per_s / one[floor].per_s for one in rounds)

    parts = [part for part in ("ingest", "broker", "database") if part in rounds[0]["product"].cpu_us]
    return [
        Figure(f"durable messages on {name}", median("product"), "/s"),
        Figure(f"bare pipe to {name}, paho, in the same run", median("paho"), "/s"),
        Figure(f"bare pipe to {name}, raw packets, in the same run", median("raw"), "/s"),
        Figure(f"product beside the bare pipe of paho, {name}", beside("paho"), "x", goal),
        Figure(f"product beside the bare pipe of raw packets, {name}", beside("raw"), "x", goal_raw),
        *(
            Figure(
                f"CPU of {part} a message, {name}: {pipe}",
                statistics.median(one[pipe].cpu_us[part] for one in rounds),
                "us",
            )
            for part in parts
            for pipe in ("product", "paho", "raw")
            if part in rounds[0][pipe].cpu_us
        ),
    ]


def measure(folder: Path) -> list[Figure]:
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(folder / "broker"))

        def places(name: str) -> list[Round]:
            made = [Round(broker, folder / f"{name}{number}", number) for number in range(ROUNDS)]
            for one in made:
                one.folder.mkdir()
            return made

        figures = figures_of("SQLite", [one.on_sqlite() for one in places("sqlite")], "at least 0.6x", "")
        if binaries() is None:
            return figures
        server = stack.enter_context(migrated_postgres(Durability.DISK))
        rounds = [one.on_postgres(server) for one in places("postgresql")]
        return figures + figures_of("PostgreSQL", rounds, "at least 0.8x", "")
