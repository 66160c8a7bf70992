"""A fault without debounce: from the simulated device's change of state to the event on the stream an open page reads.

The driver polls each 0.5 s, so half of that is waiting for the poll on the average.
"""

from __future__ import annotations

import itertools
import time

from tests.acceptance.demo_client import Demo
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.round_trip import Stream

# Different faults in turn, each twice: one that rises three times within ten minutes is held as flapping.
FAULTS = ("cover_open", "cutter_jam", "mechanical_jam", "head_overheat", "paper_out", "paper_near")
ROUNDS = 2 * len(FAULTS)


def measure(demo: Demo) -> list[Figure]:
    stream = Stream(demo, "prn1")
    took = []
    for number, fault in zip(range(ROUNDS), itertools.cycle(FAULTS), strict=False):
        began = time.perf_counter()
        demo.break_("prn1", fault)
        took.append(next_of(stream, "fault_raised") - began)
        demo.mend("prn1")
        # A different phase of the poll each time.
        time.sleep(4.0 + 0.037 * number)
    stream.close()
    return [
        Figure("fault to page, p50", percentile(took, 0.5), "s"),
        Figure("fault to page, p95", percentile(took, 0.95), "s", "at most 1 s"),
    ]


def next_of(stream: Stream, kind: str) -> float:
    while True:
        at, event = stream.arrived.get(timeout=30.0)
        if event["type"] == kind:
            return at
