"""Room that is kept for the day when the disk is full: without it not even a DELETE finds place in the write-ahead log.

Invariant: the file is whole or absent. It is let go when SQLite finds no room, and made again when there is plenty.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from device_agent.adapters.spool_schema import CHECKPOINT_PAGES, PAGE_BYTES

# The log at its longest must fit into the database file once more, and what is deleted into the log.
BALLAST_BYTES: Final = CHECKPOINT_PAGES * PAGE_BYTES + 1024 * 1024
# Made again only when the disk could hold it twice.
ROOMY_BYTES: Final = 2 * BALLAST_BYTES


def let_go(path: Path) -> None:
    path.unlink(missing_ok=True)


def keep(path: Path) -> bool:
    """Takes the room if it is not taken and there is plenty; whether it is taken now."""
    if path.exists():
        return True
    free = os.statvfs(path.parent)
    if free.f_bavail * free.f_frsize < ROOMY_BYTES:
        return False
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            # Real blocks: a hole in a file keeps no room.
            os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
    except OSError:
        part.unlink(missing_ok=True)
        return False
    part.rename(path)
    return True
