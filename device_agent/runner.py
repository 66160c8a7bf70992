"""Owns the core: one thread that takes what happened from a bounded queue, lets the core decide, and does what it
orders.

Everybody else (the link's thread, the devices' workers, the control socket) only puts events into the queue.
Invariants: the core is touched by this thread alone; effects are carried out only after `AgentCore.settle` has made
durable what must be; a full queue holds back the link and drops polls (counted), which the next poll makes good.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from device_agent.core.agent import AgentCore
from device_agent.core.effects import (
    AbandonWorker,
    CancelJobs,
    Carried,
    Connect,
    Effect,
    Event,
    GiveUp,
    Job,
    JobDone,
    Polled,
    Publish,
    RunJob,
)
from device_agent.core.instant import NS_PER_S, Instant
from device_agent.worker import DeviceWorker
from protocol.identifiers import DeviceId

MAX_EVENTS: Final = 2048
# Taken together before the next commit; more would only make the first of them wait.
MAX_TAKEN: Final = 64
HOUSEKEEPING_S: Final = 30.0


class Link(Protocol):
    def connect(self, order: Connect) -> None: ...
    def publish(self, message: Publish) -> None: ...
    def abort(self, reason: str) -> None: ...
    def close(self, goodbye: Publish | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Call:
    """Something to be done on the runner's thread: a question of the local command line."""

    run: Callable[[Instant], None]


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


class EventQueue:
    """Where all threads put what happened."""

    def __init__(self) -> None:
        self._events: queue.Queue[Event | Call | _Stop] = queue.Queue(MAX_EVENTS)
        self.dropped_polls = 0

    def put(self, event: Event | Call) -> None:
        """Waits when full: a link that is not read holds its broker back. A poll is dropped instead."""
        if not isinstance(event, Polled):
            self._events.put(event)
            return
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self.dropped_polls += 1

    def stop(self) -> None:
        self._events.put(_Stop())

    def take(self, timeout_s: float) -> list[Event | Call | _Stop]:
        """At least one event when one comes in time, and what else is there already."""
        taken: list[Event | Call | _Stop] = []
        with suppress(queue.Empty):
            taken.append(self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get_nowait())
            while len(taken) < MAX_TAKEN:
                taken.append(self._events.get_nowait())
        return taken


def _nothing() -> int:
    return 0


class Runner:
    def __init__(
        self,
        core: AgentCore,
        link: Link,
        workers: Mapping[DeviceId, DeviceWorker],
        events: EventQueue,
        now: Callable[[], Instant],
        tidy: Callable[[int], None],
        carried: Callable[[], int] = _nothing,
    ) -> None:
        self.core = core
        self.workers = workers
        self.events = events
        self._link = link
        self._now = now
        self._tidy = tidy
        self._carried = carried
        self._housekeeping_ns = 0
        self.stopped = threading.Event()
        # Answers to the local command line's own checks, which the core knows nothing of.
        self.on_local_done: Callable[[JobDone], bool] = lambda _done: False

    def run(self) -> None:
        """Until `EventQueue.stop`; then says goodbye. Raises only what leaves the spool unusable."""
        for worker in self.workers.values():
            worker.start()
        try:
            while self._turn():
                pass
            self._link.close(self.core.goodbye())
        finally:
            # After an error no goodbye is said: the connection breaks with the process, and the will speaks.
            for worker in self.workers.values():
                worker.stop()
            self.stopped.set()

    def submit(self, job: Job) -> None:
        self.workers[job.device].submit(job)

    def _turn(self) -> bool:
        for event in self.events.take(self._wait_s()):
            match event:
                case _Stop():
                    self.core.handle(Carried(self._carried(), is_last=True), self._now())
                    self._perform_all(self._now())
                    return False
                case Call():
                    event.run(self._now())
                case JobDone() if self.on_local_done(event):
                    pass
                case _:
                    self.core.handle(event, self._now())
        now = self._now()
        self.core.tick(now)
        self._perform_all(now)
        if now.monotonic_ns >= self._housekeeping_ns:
            self._housekeeping_ns = now.in_s(HOUSEKEEPING_S)
            self._tidy(self.core.clock.now_ms(now))
            self.core.handle(Carried(self._carried()), now)
            for worker in self.workers.values():
                worker.watch()
        return True

    def _wait_s(self) -> float:
        now_ns = self._now().monotonic_ns
        due_ns = self.core.next_due_ns()
        until_ns = self._housekeeping_ns if due_ns is None else min(due_ns, self._housekeeping_ns)
        return max((until_ns - now_ns) / NS_PER_S, 0.0)

    def _perform_all(self, now: Instant) -> None:
        for effect in self.core.settle(now):
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Publish():
                self._link.publish(effect)
            case RunJob():
                self.submit(effect.job)
            case Connect():
                self._link.connect(effect)
            case GiveUp():
                self._link.abort(effect.reason)
            case CancelJobs():
                for worker in self.workers.values():
                    worker.cancel(effect.execution)
            case AbandonWorker():
                self.workers[effect.device].replace()
