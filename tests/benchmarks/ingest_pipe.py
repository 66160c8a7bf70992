"""One run of a pipe, product or floor: broker, database, sender and the pipe itself are processes of their own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from threading import Event as ThreadEvent
from threading import Thread
from typing import Any

import psutil

from fleet_server.db import open_engine
from fleet_server.settings import ServerSettings
from tests.benchmarks.blast import BACKLOG, Sender, blast
from tests.support.broker import Broker
from tests.support.ingest_worker import worker_on

SPAWN = multiprocessing.get_context("spawn")
_GIVE_UP_S = 120.0
# A pipe is called with these three after its own arguments.
Pipe = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Run:
    """``cpu_us``: of each process, a message. ``peak_bytes``: most that a process of a pipe held."""

    per_s: float
    cpu_us: Mapping[str, float]
    peak_bytes: int


def product_pipe(settings: ServerSettings, name: str, stored: Synchronized[int], ready: Event, stop: Event) -> None:
    """A real worker. Its records are counted beside it, each few milliseconds."""
    engine = open_engine(settings.database_url)
    worker = worker_on(engine, settings, name=name)
    ended = ThreadEvent()

    def count() -> None:
        told = 0
        while not stop.wait(0.005):
            counted = worker.counters["records"]
            with stored.get_lock():
                stored.value += counted - told
            told = counted
            if worker._door.is_open and not ready.is_set():
                ready.set()
        ended.set()

    counting = Thread(target=count)
    counting.start()
    worker.run(ended)
    counting.join()
    engine.dispose()


def run_pipe(
    broker: Broker, pipes: Sequence[tuple[Pipe, Sequence[Any]]], senders: Sequence[Sender], database: int
) -> Run:
    """``pipes``: side by side. ``database``: process id of its server; 0: it has none."""
    total = sum(len(sender.payloads) for sender in senders)
    stored: Synchronized[int] = SPAWN.Value("q", 0)
    began_s: Synchronized[float] = SPAWN.Value("d", 0.0)
    stop = SPAWN.Event()
    with ExitStack() as stack:
        running = []
        for pipe, arguments in pipes:
            ready = SPAWN.Event()
            running.append(stack.enter_context(running_child(pipe, *arguments, stored, ready, stop, stop=stop)))
            if not ready.wait(60):
                raise RuntimeError("the pipe did not begin to listen")
        parts = {"ingest": running, "broker": [psutil.Process(broker.process.pid)]}
        if database:
            parts["database"] = _family(database)
        with blasting(broker, senders, stored, began_s) as sending:
            while began_s.value == 0.0 and sending.is_running():
                time.sleep(0.001)
            parts["sender"] = [sending]
            before = {name: _cpu_s(each) for name, each in parts.items()}
            give_up_s = time.monotonic() + _GIVE_UP_S
            while stored.value < total and time.monotonic() < give_up_s:
                time.sleep(0.002)
            took_s = time.monotonic() - began_s.value
            used = {name: (_cpu_s(each) - before[name]) * 1e6 / total for name, each in parts.items()}
        peak = max(one.memory_info().rss for one in running)
    if stored.value < total:
        raise RuntimeError(f"{stored.value} of {total} messages were stored")
    return Run(total / took_s, used, peak)


@contextmanager
def running_child(target: Callable[..., None], *arguments: Any, stop: Event | None = None) -> Iterator[psutil.Process]:
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    try:
        yield psutil.Process(process.pid)
    finally:
        if stop is not None:
            stop.set()
            process.join(30)
        if process.is_alive():
            process.kill()
        process.join()


@contextmanager
def blasting(
    broker: Broker,
    senders: Sequence[Sender],
    stored: Synchronized[int],
    began_s: Synchronized[float],
    backlog: int = BACKLOG,
) -> Iterator[psutil.Process]:
    with running_child(blast, broker.host, broker.port, senders, stored, began_s, backlog) as sending:
        yield sending


def _family(pid: int) -> list[psutil.Process]:
    server = psutil.Process(pid)
    return [server, *server.children(recursive=True)]


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
