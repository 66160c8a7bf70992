"""What one simulated link has to say: columns of samples when a report is due, faults that begin and end by chance.

Each device's samples lie on one grid of wall time and follow `traffic.expected`. Invariants: a sample is said once;
of each device at most one fault is open; when the link may not say more now (`limit`), samples are passed over and
counted, never numbered.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from device_agent.core.instant import NS_PER_S, Instant, earliest
from protocol.records import MAX_STEPS, FaultCleared, FaultRaised, HealthColumns, Record, RecordBody, Severity
from simulators.load.traffic import FAULT_CODES, Traffic, expected

# What may wait unacknowledged before new samples are passed over: ten minutes of a desk's gateway, a few megabytes.
MAX_HELD_RECORDS = 2000


@dataclass(frozen=True, slots=True)
class Talker:
    """A device that has something to say. ``number`` decides its values."""

    device: str
    number: int


@dataclass(frozen=True, slots=True, order=True)
class _Open:
    ends_ns: int
    place: int
    code: str
    raised_ms: int


class Sayings:
    """Silent until `begin`. ``boot`` as in the link's hello."""

    def __init__(self, talkers: Sequence[Talker], traffic: Traffic, boot: str, seed: int) -> None:
        self._talkers = talkers
        self._traffic = traffic
        self._boot = boot
        self._chance = random.Random(seed)
        self._began_ns = 0
        self._report_ns: int | None = None
        self._said_ms = 0
        self._first_ms = 0
        self._open: list[_Open] = []
        self._faulty: set[int] = set()
        self._fault_ns: int | None = None
        self._encoder = msgspec.json.Encoder()

    def begin(self, now: Instant) -> None:
        """``now``: when the whole run begins, from which its burst is counted."""
        traffic = self._traffic
        self._began_ns = now.monotonic_ns
        phase = 1.0 if traffic.in_step else self._chance.random()
        self._report_ns = now.in_s(traffic.report_s * phase)
        # The first report is as large as every other.
        self._said_ms = (now.wall_ms - int(traffic.report_s * 1000)) // traffic.sample_ms * traffic.sample_ms
        self._first_ms = self._said_ms + traffic.sample_ms
        self._fault_ns = self._next_fault(now)

    @property
    def said(self) -> range:
        """The grid from the first sample that was said, or passed over, to the last."""
        step_ms = self._traffic.sample_ms
        return range(self._first_ms, self._said_ms + step_ms, step_ms) if self._first_ms else range(0)

    def next_due_ns(self) -> int | None:
        return earliest(self._report_ns, self._fault_ns, self._open[0].ends_ns if self._open else None)

    def report(self, now: Instant, held: int, counts: Counter[str]) -> list[bytes]:
        """Health records that are due, or nothing."""
        if self._report_ns is None or now.monotonic_ns < self._report_ns:
            return []
        report_ns = int(self._traffic.report_s * NS_PER_S)
        missed = (now.monotonic_ns - self._report_ns) // report_ns
        self._report_ns += (missed + 1) * report_ns
        step_ms = self._traffic.sample_ms
        newest_ms = now.wall_ms // step_ms * step_ms
        steps = (newest_ms - self._said_ms) // step_ms
        if steps <= 0:
            return []
        kept = 0 if held >= MAX_HELD_RECORDS else min(steps, MAX_STEPS)
        counts["samples_passed_over"] += (steps - kept) * len(self._talkers)
        self._said_ms = newest_ms
        if not kept:
            return []
        start_ms = newest_ms - (kept - 1) * step_ms
        counts["points"] += kept * len(self._talkers) * self._traffic.metrics
        return [
            self._encoded(talker.device, self._columns(talker.number, start_ms, kept), now) for talker in self._talkers
        ]

    def faults(self, now: Instant, counts: Counter[str]) -> list[bytes]:
        """Faults that begin or end now."""
        said = []
        while self._open and self._open[0].ends_ns <= now.monotonic_ns:
            over = heapq.heappop(self._open)
            self._faulty.discard(over.place)
            counts["faults_cleared"] += 1
            body: RecordBody = FaultCleared(over.code, over.raised_ms, now.wall_ms)
            said.append(self._encoded(self._talkers[over.place].device, body, now))
        while self._fault_ns is not None and self._fault_ns <= now.monotonic_ns:
            fault = self._begun(now)
            self._fault_ns = self._next_fault(now)
            if fault is not None:
                counts["faults_raised"] += 1
                said.append(fault)
        return said

    def hurry(self, now: Instant) -> None:
        """The next report is due now, whenever it would have been."""
        self._report_ns = now.monotonic_ns

    def silence(self) -> None:
        """Nothing new from now on; a fault that is open stays open."""
        self._report_ns = self._fault_ns = None
        self._open.clear()

    def _columns(self, number: int, start_ms: int, steps: int) -> HealthColumns:
        step_ms = self._traffic.sample_ms
        columns = {
            name: [expected(number, place, start_ms + step * step_ms, step_ms) for step in range(steps)]
            for place, name in enumerate(self._traffic.metric_names)
        }
        return HealthColumns(start_ms, step_ms, steps, columns)  # type: ignore[arg-type]  # lists of floats are samples

    def _begun(self, now: Instant) -> bytes | None:
        """Drawn as often as in the burst, and outside of it believed as seldom as the usual rate says."""
        elapsed_s = (now.monotonic_ns - self._began_ns) / NS_PER_S
        place = self._chance.randrange(len(self._talkers))
        share = self._traffic.fault_factor(elapsed_s) / max(self._traffic.burst_factor, 1.0)
        if self._chance.random() >= share or place in self._faulty:
            return None
        code = self._chance.choice(FAULT_CODES)
        lasts_s = self._traffic.fault_lasts_s * (0.5 + self._chance.random())
        self._faulty.add(place)
        heapq.heappush(self._open, _Open(now.in_s(lasts_s), place, code, now.wall_ms))
        body = FaultRaised(code, Severity.MINOR, now.wall_ms, now.wall_ms)
        return self._encoded(self._talkers[place].device, body, now)

    def _next_fault(self, now: Instant) -> int | None:
        per_s = self._traffic.faults_per_device_hour / 3600 * len(self._talkers) * max(self._traffic.burst_factor, 1.0)
        return now.in_s(self._chance.expovariate(per_s)) if per_s > 0 else None

    def _encoded(self, device: str, body: RecordBody, now: Instant) -> bytes:
        return self._encoder.encode(Record(device, self._boot, now.mono_ms, now.wall_ms, body))
