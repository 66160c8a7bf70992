"""Messages made durable per second on SQLite (``synchronous=FULL``), beside a bare pipe in the same run.

Each message is one batch of one health record with 12 columns, MQTT QoS 1 over TLS, from four terminals as fast as the
broker takes them. The floor does the least that makes such a message durable: paho, decode, one executemany a batch,
PUBACK after the commit. Both read the same kind of shared subscription on the same broker.
"""

from __future__ import annotations

import collections
import os
import sqlite3
import threading
import time
from collections.abc import Callable
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
from tests.benchmarks.figures import Figure
from tests.support.broker import Broker, running_broker
from tests.support.engines import migrated_sqlite
from tests.support.fleet_rows import device, make_fleet
from tests.support.ingest_worker import settings_for, worker_on

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


def product(broker: Broker, folder: Path, seed: str) -> float:
    database = migrated_sqlite(folder)
    engine = open_engine(f"sqlite:///{database}")
    make_fleet(engine)
    with transaction(engine) as session:
        for number in range(SENDERS):
            session.add(device(link(number), "site-default", "terminal"))
    worker = worker_on(engine, settings_for(broker, folder))
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    counted = sqlite3.connect(database, check_same_thread=False)
    time.sleep(1.0)
    try:
        return flood(broker, lambda: int(counted.execute("SELECT count(*) FROM health_block").fetchone()[0]), seed)
    finally:
        stop.set()
        thread.join()
        counted.close()
        engine.dispose()


def floor(broker: Broker, folder: Path, seed: str) -> float:
    database = sqlite3.connect(folder / "floor.db", check_same_thread=False, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute(
        "CREATE TABLE block (link TEXT, stream TEXT, seq INTEGER, at INTEGER, body BLOB, UNIQUE(link, stream, seq))"
    )
    waiting: collections.deque[MQTTMessage] = collections.deque()
    stored = [0]
    stop = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id="svc-fleet-1", protocol=MQTTv5, manual_ack=True)
    client.tls_set_context(broker.service("svc-fleet-1").context())
    client.on_connect = lambda it, *_: it.subscribe(shared_up_filter("g-" + os.urandom(16).hex(), Up.BULK), 1)
    client.on_message = lambda _client, _data, message: waiting.append(message)
    client.connect(broker.host, broker.port)
    client.loop_start()

    def store() -> None:
        while not stop.wait(_FLUSH_S):
            while waiting:
                batch = [waiting.popleft() for _ in range(min(len(waiting), 2000))]
                rows = [row(message) for message in batch]
                database.execute("BEGIN IMMEDIATE")
                database.executemany("INSERT OR IGNORE INTO block VALUES (?, ?, ?, ?, ?)", rows)
                database.execute("COMMIT")
                stored[0] += len(rows)
                for message in batch:
                    client.ack(message.mid, message.qos)

    thread = threading.Thread(target=store)
    thread.start()
    time.sleep(1.0)
    try:
        return flood(broker, lambda: stored[0], seed)
    finally:
        stop.set()
        thread.join()
        client.disconnect()
        client.loop_stop()
        database.close()


def row(message: MQTTMessage) -> tuple[str, str, int, int, bytes]:
    payload = bytes(message.payload)
    batch = codec.decode(payload, None, Batch)
    assert isinstance(batch, Batch)
    record = codec.from_json(batch.records[0], Record)
    assert isinstance(record, Record)
    return record.device, batch.stream, batch.first_seq, record.wall_ms, payload


def measure(folder: Path) -> list[Figure]:
    ours: list[float] = []
    floors: list[float] = []
    with running_broker(folder / "broker") as broker:
        for number in range(ROUNDS):
            for name, run, rates in (("floor", floor, floors), ("product", product, ours)):
                place = folder / f"{name}{number}"
                place.mkdir()
                rates.append(run(broker, place, f"{number:x}{'f' if name == 'floor' else 'a'}"))
    points = sorted(ours)[ROUNDS // 2] * len(_METRICS)
    ratio = sorted(o / f for o, f in zip(ours, floors, strict=True))[ROUNDS // 2]
    return [
        Figure("durable messages on SQLite", sorted(ours)[ROUNDS // 2], "/s"),
        Figure("samples durable on SQLite, one step a message", points, "/s"),
        Figure("bare pipe to SQLite in the same run", sorted(floors)[ROUNDS // 2], "/s"),
        Figure("product beside the bare pipe", ratio, "x", "at least 0.6x"),
    ]
