"""Memory of an ingest worker before a backlog that the broker holds: what it does not read stays there.

The worker is stopped by a signal after it has subscribed, the broker is filled, the worker goes on; the most that it
ever held in memory is the figure. Once with many small messages, once with batches as large as the protocol allows, and
once with the first contact of large gateways, all at the same time: hello, declaration and a report of each device.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import cast

import msgspec
import psutil
from sqlalchemy import Engine, insert

from fleet_server.db import open_engine, transaction
from fleet_server.devices.models import Device
from fleet_server.ingest.answers import Answers
from fleet_server.ingest.door import MAX_MESSAGES, Door, Taken
from fleet_server.ingest.worker import Worker
from fleet_server.mqtt import Received
from protocol import codec
from protocol.capabilities import digest
from protocol.records import HealthColumns, Record
from protocol.session import AttachedDevice, Hello, Profile
from protocol.signing import SigningKey
from protocol.streams import Batch
from protocol.topics import Up, up
from simulators.load.wire_link import LinkPlan
from tests.benchmarks import ingest_rate
from tests.benchmarks.blast import Sender
from tests.benchmarks.figures import Figure
from tests.benchmarks.ingest_growth import PreparedDoor
from tests.benchmarks.ingest_pipe import SPAWN, blasting, product_pipe, running_child
from tests.benchmarks.ingest_rate import METRICS, link, make_links
from tests.support.broker import Broker, running_broker
from tests.support.engines import migrated_sqlite
from tests.support.fleet_rows import device, make_fleet
from tests.support.ingest_worker import NothingToSend, settings_for

SMALL = int(os.environ.get("MESSAGES", "300000"))
LARGE = int(os.environ.get("LARGE", "1500"))
GATEWAYS = int(os.environ.get("GATEWAYS", "500"))
_ATTACHED = 200
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


def gateway(number: int) -> LinkPlan:
    attached = {f"l{place:03d}": f"d-behind{number:05d}-{place:03d}" for place in range(_ATTACHED)}
    return LinkPlan(link(number), attached, "smart", tuple(METRICS), Profile.UNMETERED, 60.0)


def make_gateways(engine: Engine) -> None:
    make_fleet(engine)
    for number in range(GATEWAYS):
        plan = gateway(number)
        rows = [device(plan.link, "site-default", "gateway").model_dump()]
        rows += [
            device(id_, "site-default", "attached", link=plan.link, line=line).model_dump()
            for line, id_ in plan.attached.items()
        ]
        with transaction(engine) as session:
            session.execute(insert(Device), rows)


def first_contact() -> Iterator[list[Taken]]:
    """As much as a door gives at once: all hellos, then all declarations, then the reports."""
    for kind in (Up.HELLO, Up.CAPABILITIES, Up.BULK):
        said = (one for number in range(GATEWAYS) for one in said_of(gateway(number), number, kind))
        while piece := list(islice(said, MAX_MESSAGES)):
            yield piece


def said_of(plan: LinkPlan, number: int, kind: Up) -> Iterator[Taken]:
    now_ms = int(time.time() * 1000)
    match kind:
        case Up.HELLO:
            alive = [AttachedDevice(id_, line, alive=True) for line, id_ in plan.attached.items()]
            marks, clocks = (f"{number:032x}",) * 2, (now_ms, now_ms, 1)
            paces = (Profile.UNMETERED, 60.0, 60.0)
            payloads: list[object] = [
                Hello(*marks, "ab" * 16, "1", [1], digest(plan.capabilities()), alive, [], [], *paces, *clocks)  # type: ignore[arg-type]  # marks of any kind
            ]
        case Up.CAPABILITIES:
            payloads = [plan.capabilities()]
        case _:
            columns: dict[str, list[float | int | str | None]] = {name: [20.5] * 5 for name in METRICS}
            body = HealthColumns(now_ms, 60_000, 5, columns)
            records = [
                msgspec.Raw(codec.to_json(Record(id_, "ab" * 16, 1, now_ms, body))) for id_ in plan.attached.values()
            ]
            payloads = [Batch(f"{number:032x}", 1 + at, records[at : at + 50]) for at in range(0, _ATTACHED, 50)]
    for one in payloads:
        sent = codec.encode(one, deflate=True)
        yield Taken(Received(up(plan.link, kind), sent.payload, sent.content_type, 1, 1), 1, time.monotonic())


def contact(url: str, peak: Synchronized[int], done: Synchronized[int]) -> None:
    """Target of a process: a worker whose door gives what was prepared."""
    engine = open_engine(url)
    answers = Answers(SigningKey.from_seed(bytes(32)), "e" * 32)
    worker = Worker("bench", engine, cast("Door", PreparedDoor(first_contact())), answers, NothingToSend())
    while worker.counters["records"] < GATEWAYS * _ATTACHED:
        worker.step()
    peak.value, done.value = peak_of(os.getpid()), worker.counters["records"]
    engine.dispose()


def contact_bytes(folder: Path) -> int:
    folder.mkdir()
    url = f"sqlite:///{migrated_sqlite(folder)}"
    engine = open_engine(url)
    make_gateways(engine)
    engine.dispose()
    peak, done = SPAWN.Value("q", 0), SPAWN.Value("q", 0)
    process = SPAWN.Process(target=contact, args=(url, peak, done))
    process.start()
    process.join(_GIVE_UP_S)
    process.kill()
    if done.value != GATEWAYS * _ATTACHED:
        raise RuntimeError(f"{done.value} of {GATEWAYS * _ATTACHED} records were stored")
    return int(peak.value)


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
    gateways = contact_bytes(folder / "gateways")
    return [
        Figure(f"most memory of ingest, {SMALL:,} messages waiting", small / 1e6, "MB", _GOAL),
        Figure(f"most memory of ingest, {LARGE:,} batches of 100 records waiting", large / 1e6, "MB", _GOAL),
        Figure(
            f"most memory of ingest, first contact of {GATEWAYS * _ATTACHED:,} devices", gateways / 1e6, "MB", _GOAL
        ),
    ]
