"""Many runs, some of them side by side: each worker is a process in a place of its own, and takes the next seed when it
is done with one.

The seeds wait in a pipe that all workers read, eight bytes each, so that none is taken twice and a worker that is ended
takes no more. What came of a run goes into the ledger, by whoever made it.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress

from tests.chaos import enclosure

_SEED = struct.Struct("q")
MODULE = "tests.chaos"
SEEDS_FROM = "--seeds-from"


def carried_out(seeds: Sequence[int], jobs: int, arguments: Sequence[str], *, is_open: bool) -> list[int]:
    """Has the seeds run by workers and answers their exit codes."""
    reading, writing = os.pipe()
    command = [*arguments, SEEDS_FROM, str(reading)]
    with ExitStack() as stack:
        begun = (enclosure.begun(MODULE, command, reading, is_open=is_open) for _ in range(min(jobs, len(seeds))))
        workers = [stack.enter_context(worker) for worker in begun]
        # With it open here, too, nobody would be told that all workers are gone.
        os.close(reading)
        with suppress(BrokenPipeError, KeyboardInterrupt):
            for seed in seeds:
                os.write(writing, _SEED.pack(seed))
        os.close(writing)
        return [enclosure.ended(worker) for worker in workers]


def taken(handle: int) -> Iterator[int]:
    """In a worker: the next seed that nobody has, until there is none."""
    while packed := os.read(handle, _SEED.size):
        yield _SEED.unpack(packed)[0]


def say(text: str) -> None:
    """One write, so that what several say stays apart."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
