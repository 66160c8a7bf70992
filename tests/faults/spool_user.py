"""A process that fills a spool and ends at the first disk error, as the agent does, closing the file or not."""

from __future__ import annotations

import multiprocessing
import os
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Final

from device_agent.adapters.spool import Spool, SpoolFailed
from tests.faults.fault import note
from tests.faults.promise import fill, opened

# Forked from a small process that has this module loaded: hundreds of starts in seconds.
_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])
_PATIENCE_S: Final = 30.0


class Ending(IntEnum):
    WELL = 0
    CRASHED = 1  # an exception that nobody expects
    DISK_ERROR = 3


def use_spool(folder: Path, count: int, *, is_closed: bool) -> Ending:
    """``count`` records in a process of their own; ``is_closed`` is whether it lives to close the file."""
    process = _PROCESSES.Process(target=_live, args=(folder, count, is_closed))
    process.start()
    process.join(_PATIENCE_S)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{count} records took more than {_PATIENCE_S} s")
    return Ending(process.exitcode)


def _live(folder: Path, count: int, is_closed: bool) -> None:
    spool: Spool | None = None
    ending = Ending.WELL
    try:
        spool = opened(folder)
        fill(spool, partial(note, folder), count)
    except SpoolFailed:
        ending = Ending.DISK_ERROR
    if is_closed and spool is not None:
        spool.close()
    # At once, without what Python would still close by itself.
    os._exit(ending)
