"""Messages made durable per second on SQLite (``synchronous=FULL``) and PostgreSQL, beside a bare pipe in the same run.

Each message is one batch of one health record with 12 columns, MQTT QoS 1 over TLS, from four terminals as fast as the
broker takes them. The floor does the least that makes such a message durable: paho, decode, one bulk statement a batch
(`tests.benchmarks.bare_ingest`), PUBACK after the commit. Both read the same kind of shared subscription on the same
broker.
"""

from __future__ import annotations

import collections
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from fleet_server.db import open_engine, transaction
from protocol import codec
from protocol.identifiers import LinkId
from protocol.records import HealthColumns, Record
from protocol.streams import Batch
from protocol.topics import Up, shared_up_filter, up
from tests.benchmarks.bare_ingest import Row, Store, bare_postgres, bare_sqlite
from tests.benchmarks.figures import Figure
from tests.support.broker import Broker, running_broker
from tests.support.engines import migrated_postgres, migrated_sqlite, postgres_url
from tests.support.fleet_rows import device, make_fleet
from tests.support.ingest_worker import settings_for, worker_on
from tests.support.postgres import Durability, PostgresServer, binaries

SENDERS = 4
MESSAGES = 2500
ROUNDS = 3
_FLUSH_S = 0.02
_METRICS = [f"batt.{name}" for name in ("level_pct", "temp_c", "volt_mv", "health_pct")] + [
    f"sys.{name}" for name in ("cpu_pct", "mem_avail_pct", "storage_free_pct", "temp_c", "clock_drift_s", "load1")
]


def link(number: int) -> LinkId:
    return LinkId(f"d-sender{number:010d}")


def payloads(number: int, stream: str) -> list[bytes]:
    now_ms = int(time.time() * 1000)
    made = []
    for seq in range(1, MESSAGES + 1):
        columns: dict[str, list[float | int | str | None]] = {name: [20.5 + seq % 7] for name in _METRICS}
        body = HealthColumns(start_ms=now_ms + seq, step_ms=1000, steps=1, columns=columns)
        record = Record(device=link(number), boot="ab" * 16, mono_ms=seq, wall_ms=now_ms + seq, body=body)
        made.append(codec.to_json(Batch(stream, seq, [msgspec.Raw(codec.to_json(record))])))
    return made


def send(broker: Broker, number: int, made: list[bytes]) -> None:
    client = Client(CallbackAPIVersion.VERSION2, client_id=link(number), protocol=MQTTv5)
    client.tls_set_context(broker.link(link(number)).context())
    client.max_inflight_messages_set(100)
    client.max_queued_messages_set(0)
    client.connect(broker.host, broker.port)
    client.loop_start()
    last = [client.publish(up(link(number), Up.BULK), payload, 1) for payload in made][-1]
    last.wait_for_publish(120)
    client.disconnect()
    client.loop_stop()


def flood(broker: Broker, stored: Callable[[], int], stream_seed: str) -> float:
    """Messages per second from the first publish to the last commit."""
    made = [payloads(number, f"{stream_seed}{number:030x}") for number in range(SENDERS)]
    senders = [threading.Thread(target=send, args=(broker, number, each)) for number, each in enumerate(made)]
    began = time.perf_counter()
    for sender in senders:
        sender.start()
    give_up_at = time.monotonic() + 180
    while stored() < SENDERS * MESSAGES and time.monotonic() < give_up_at:
        time.sleep(0.01)
    took_s = time.perf_counter() - began
    for sender in senders:
        sender.join()
    return stored() / took_s


def product(broker: Broker, folder: Path, url: str, seed: str) -> float:
    engine = open_engine(url)
    make_fleet(engine)
    with transaction(engine) as session:
        for number in range(SENDERS):
            session.add(device(link(number), "site-default", "terminal"))
    worker = worker_on(engine, settings_for(broker, folder))
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    time.sleep(1.0)
    try:
        return flood(broker, lambda: worker.counters["records"], seed)
    finally:
        stop.set()
        thread.join()
        engine.dispose()


def floor(broker: Broker, store: Store, seed: str) -> float:
    waiting: collections.deque[MQTTMessage] = collections.deque()
    stored = [0]
    stop = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id="svc-fleet-1", protocol=MQTTv5, manual_ack=True)
    client.tls_set_context(broker.service("svc-fleet-1").context())
    client.on_connect = lambda it, *_: it.subscribe(shared_up_filter("g-" + os.urandom(16).hex(), Up.BULK), 1)
    client.on_message = lambda _client, _data, message: waiting.append(message)
    client.connect(broker.host, broker.port)
    client.loop_start()

    def store_on() -> None:
        while not stop.wait(_FLUSH_S):
            while waiting:
                batch = [waiting.popleft() for _ in range(min(len(waiting), 2000))]
                store([row(message) for message in batch])
                stored[0] += len(batch)
                for message in batch:
                    client.ack(message.mid, message.qos)

    thread = threading.Thread(target=store_on)
    thread.start()
    time.sleep(1.0)
    try:
        return flood(broker, lambda: stored[0], seed)
    finally:
        stop.set()
        thread.join()
        client.disconnect()
        client.loop_stop()


def row(message: MQTTMessage) -> Row:
    payload = bytes(message.payload)
    batch = codec.decode(payload, None, Batch)
    assert isinstance(batch, Batch)
    record = codec.from_json(batch.records[0], Record)
    assert isinstance(record, Record)
    return record.device, batch.stream, batch.first_seq, record.wall_ms, payload


def on_sqlite(broker: Broker, folder: Path, seed: str) -> tuple[float, float]:
    """Messages a second of the floor and of the product."""
    with bare_sqlite(folder) as store:
        least = floor(broker, store, f"{seed}f")
    return least, product(broker, folder, f"sqlite:///{migrated_sqlite(folder)}", f"{seed}a")


def on_postgres(server: PostgresServer, broker: Broker, folder: Path, seed: str) -> tuple[float, float]:
    with bare_postgres(server) as store:
        least = floor(broker, store, f"{seed}f")
    with postgres_url(server) as url:
        return least, product(broker, folder, url, f"{seed}a")


def figures_of(name: str, rounds: Sequence[tuple[float, float]], goal: str) -> list[Figure]:
    ours = statistics.median(product for _, product in rounds)
    return [
        Figure(f"durable messages on {name}", ours, "/s"),
        Figure(f"samples durable on {name}, one step a message", ours * len(_METRICS), "/s"),
        Figure(f"bare pipe to {name} in the same run", statistics.median(least for least, _ in rounds), "/s"),
        Figure(
            f"product beside the bare pipe, {name}", statistics.median(one / least for least, one in rounds), "x", goal
        ),
    ]


def measure(folder: Path) -> list[Figure]:
    def rounds_of(name: str, run: Callable[[Broker, Path, str], tuple[float, float]]) -> list[tuple[float, float]]:
        places = [folder / f"{name}{number}" for number in range(ROUNDS)]
        for place in places:
            place.mkdir()
        return [run(broker, place, f"{number:x}") for number, place in enumerate(places)]

    with running_broker(folder / "broker") as broker:
        figures = figures_of("SQLite", rounds_of("sqlite", on_sqlite), "at least 0.6x")
        if binaries() is None:
            return figures
        with migrated_postgres(Durability.DISK) as server:
            return figures + figures_of("PostgreSQL", rounds_of("postgresql", partial(on_postgres, server)), "")
