"""Memory of an ingest worker before a backlog that the broker holds: what it does not read stays there.

The worker is stopped by a signal after it has subscribed, the broker is filled, the worker goes on; the most that it
ever held in memory is the figure. Once with many small messages, once with batches as large as the protocol allows.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil

from protocol import codec
from protocol.records import HealthColumns, Record
from protocol.streams import Batch
from tests.benchmarks import ingest_rate
from tests.benchmarks.blast import Sender
from tests.benchmarks.figures import Figure
from tests.benchmarks.ingest_pipe import SPAWN, blasting, product_pipe, running_child
from tests.benchmarks.ingest_rate import METRICS, link, make_links
from tests.support.broker import Broker, running_broker
from tests.support.engines import migrated_sqlite
from tests.support.ingest_worker import settings_for

SMALL = int(os.environ.get("MESSAGES", "300000"))
LARGE = int(os.environ.get("LARGE", "1500"))
_GOAL = "at most 200 MB"
_GIVE_UP_S = 1200.0


def without_limit(broker: Broker) -> None:
    """The broker queues all of it, as a larger one might."""
    text = broker.configuration.read_text("utf-8")
    text = text.replace("max_queued_messages 10000", "max_queued_messages 5000000")
    broker.configuration.write_text(text.replace("max_queued_bytes 67108864", "max_queued_bytes 4000000000"), "utf-8")
    broker.restart()


def large_payloads(number: int, count: int) -> list[bytes]:
    """Each nearly 64 KiB as sent, and some hundred thousand samples when read."""
    dice = random.Random(number)
    now_ms = int(time.time() * 1000)
    columns: dict[str, list[float | int | str | None]] = {
        name: [dice.choice((20.5, 21.25, 3.75, 19.0)) for _ in range(120)] for name in METRICS
    }
    body = HealthColumns(start_ms=now_ms, step_ms=1000, steps=120, columns=columns)
    record = msgspec.Raw(codec.to_json(Record(link(number), "ab" * 16, 1, now_ms, body)))
    records = [record] * 100
    first = [Batch(f"f{number:031x}", 1 + place * 100, records) for place in range(count)]
    return [codec.encode(batch, deflate=True).payload for batch in first]


def peak_bytes(broker: Broker, folder: Path, senders: Sequence[Sender], records: int) -> int:
    folder.mkdir()
    url = f"sqlite:///{migrated_sqlite(folder)}"
    make_links(url)
    stored, began_s = SPAWN.Value("q", 0), SPAWN.Value("d", 0.0)
    ready, stop = SPAWN.Event(), SPAWN.Event()
    total = sum(len(sender.payloads) for sender in senders)
    # Nobody sends again here what a quota puts off.
    settings = replace(settings_for(broker, folder, url), link_messages_per_s=0, link_bytes_per_s=0)
    settings = replace(settings, tenant_messages_per_s=0, tenant_bytes_per_s=0)
    with running_child(product_pipe, settings, stored, ready, stop, stop=stop) as worker:
        if not ready.wait(60):
            raise RuntimeError("the worker did not begin to listen")
        worker.send_signal(signal.SIGSTOP)
        try:
            with blasting(broker, senders, stored, began_s, total) as sending:
                while sending.is_running() and sending.status() != psutil.STATUS_ZOMBIE:
                    time.sleep(0.1)
        finally:
            worker.send_signal(signal.SIGCONT)
        give_up_s = time.monotonic() + _GIVE_UP_S
        while stored.value < records and time.monotonic() < give_up_s:
            time.sleep(0.05)
        peak = peak_of(worker.pid)
    if stored.value < records:
        raise RuntimeError(f"{stored.value} of {records} records were stored")
    return peak


def peak_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def measure(folder: Path) -> list[Figure]:
    ingest_rate.MESSAGES = SMALL
    with running_broker(folder / "memory-broker") as broker:
        without_limit(broker)
        small = peak_bytes(broker, folder / "small", ingest_rate.senders_on(broker, 0), SMALL)
        files = [broker.link(link(number)) for number in range(10)]
        senders = [
            Sender(link(number), file, large_payloads(number, LARGE // 10), codec.JSON_DEFLATE)
            for number, file in enumerate(files)
        ]
        large = peak_bytes(broker, folder / "large", senders, LARGE // 10 * 10 * 100)
    return [
        Figure(f"most memory of ingest, {SMALL:,} messages waiting", small / 1e6, "MB", _GOAL),
        Figure(f"most memory of ingest, {LARGE:,} batches of 100 records waiting", large / 1e6, "MB", _GOAL),
    ]
