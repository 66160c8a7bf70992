"""Live reports of one API process: from the broker's thread to those who watch, through bounded queues.

A stream is opened for a device *and* the link that may speak for it, as the database had them at that moment. A report
is handed on only when its topic's link and its device are such a pair, so no link can speak for another's device, and
no message makes anything be read or written.

Invariants: nothing here waits for a listener; a slow one loses the oldest reports, never the newest. A stream ends
after `LONGEST_S`, so that a pair that was taken apart is not believed for longer. What is not handed on is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import inf

from fleet_server.kit.rate_limit import TokenBuckets
from fleet_server.kit.times import utc_now
from fleet_server.live.reading import read_report
from fleet_server.mqtt import Received
from protocol.errors import Malformed
from protocol.live import LiveProgress, LiveReport
from protocol.records import Sample
from protocol.topics import Up, parse_up

MAX_LISTENERS = 2000
LONGEST_S = 600.0
# A page shows the newest; more than a few are never waited for.
MAX_WAITING = 4
# Reports between the broker's thread and the loop.
MAX_HANDED = 1000
# A gateway with all its devices says 65 at once, every two seconds.
REPORTS_PER_S = 40.0
REPORTS_BURST = 130
COUNTED = ("asked", "handed_out", "dropped", "not_watched", "not_read", "too_many", "listeners_refused")


@dataclass(frozen=True, slots=True)
class Watched:
    device_id: str
    link_id: str


@dataclass(frozen=True, slots=True)
class LiveUpdate:
    device_id: str
    received_at: datetime
    samples: Mapping[str, Sample]
    progress: Sequence[LiveProgress]


# None in a queue ends its stream.
_Queue = asyncio.Queue[LiveUpdate | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Listener:
    queue: _Queue
    asks_until_s: float


class LiveHub:
    def __init__(self) -> None:
        self._listeners: defaultdict[Watched, set[_Listener]] = defaultdict(set)
        self._links: Counter[str] = Counter()  # open streams by link
        self._rate = TokenBuckets(rate_per_s=REPORTS_PER_S, burst=REPORTS_BURST)
        self._loop: asyncio.AbstractEventLoop | None = None
        # Each is counted by one thread alone; between them lies what the loop has not taken yet.
        self._handed_over = 0
        self._handed_out = 0
        self.opened = asyncio.Event()  # somebody began to watch
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.opened = asyncio.Event()

    async def stop(self) -> None:
        """Ends every stream."""
        for listeners in self._listeners.values():
            for listener in listeners:
                _put(listener.queue, None)

    @property
    def is_full(self) -> bool:
        return self._links.total() >= MAX_LISTENERS

    def links(self, now_s: float) -> set[str]:
        """Links that are to be asked to speak. ``now_s`` is monotonic."""
        return {
            watched.link_id
            for watched, listeners in self._listeners.items()
            if any(now_s < one.asks_until_s for one in listeners)
        }

    def on_message(self, message: Received) -> None:
        """Called in the broker's thread."""
        topic = parse_up(message.topic)
        if topic is None or topic.kind is not Up.LIVE:
            self.counters["not_read"] += 1
            return
        # Before anything is decoded: what nobody watches costs nothing, and a link that floods costs little.
        if topic.link not in self._links:
            self.counters["not_watched"] += 1
        elif self._rate.take(topic.link, time.monotonic()) > 0:
            self.counters["too_many"] += 1
        else:
            self._take(topic.link, read_report(message))

    async def subscribe(self, watched: Watched, asks_until_s: float = inf) -> AsyncIterator[LiveUpdate]:
        """Reports as they come. The link is asked to speak until ``asks_until_s`` (monotonic)."""
        if self.is_full:
            self.counters["listeners_refused"] += 1
            return
        listener = _Listener(asyncio.Queue(MAX_WAITING), asks_until_s)
        self._listeners[watched].add(listener)
        self._links[watched.link_id] += 1
        self.opened.set()
        end = asyncio.get_running_loop().call_later(LONGEST_S, _put, listener.queue, None)
        try:
            while (update := await listener.queue.get()) is not None:
                yield update
        finally:
            end.cancel()
            self._leave(watched, listener)

    def _take(self, link_id: str, report: LiveReport | Malformed) -> None:
        if isinstance(report, Malformed):
            self.counters["not_read"] += 1
            return
        watched = Watched(report.device, link_id)
        loop = self._loop
        if watched not in self._listeners or loop is None or loop.is_closed():
            self.counters["not_watched"] += 1
        elif self._handed_over - self._handed_out >= MAX_HANDED:
            self.counters["dropped"] += 1
        else:
            self._handed_over += 1
            update = LiveUpdate(report.device, utc_now(), report.samples, report.progress)
            # A loop that closes between the question and the call has no listeners left.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._hand_out, watched, update)

    def _hand_out(self, watched: Watched, update: LiveUpdate) -> None:
        self._handed_out += 1
        for listener in self._listeners.get(watched, ()):
            self.counters["dropped"] += _put(listener.queue, update)
            self.counters["handed_out"] += 1

    def _leave(self, watched: Watched, listener: _Listener) -> None:
        listeners = self._listeners[watched]
        listeners.discard(listener)
        self._links[watched.link_id] -= 1
        if not self._links[watched.link_id]:
            del self._links[watched.link_id]
        if not listeners:
            del self._listeners[watched]


def _put(queue: _Queue, update: LiveUpdate | None) -> int:
    """How many older ones had to make room."""
    dropped = 0
    while queue.full():
        queue.get_nowait()
        dropped += 1
    queue.put_nowait(update)
    return dropped
