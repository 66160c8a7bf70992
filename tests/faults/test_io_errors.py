"""The disk fails at any one write or sync of a run: the process ends, the next one keeps what was said.

A sync that failed has lost data that programs still see, which a power cut after the next start brings to light.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.faults.disk import Disk, Leave, Name, Step, Sync, Write
from tests.faults.fault import Fault, Trouble
from tests.faults.mounted import MountedDisk, mounted_disk
from tests.faults.promise import Promised, after_start
from tests.faults.spool_user import Ending, use_spool

RECORDS: Final = 24
# After the fault, in the next process.
RECORDS_AFTER: Final = 3
# 1 in the long form: every write, every sync, with and without closing the file.
EVERY: Final = int(os.environ.get("POWERCUT_EVERY", "10"))
NO_FAULT: Final = Fault(Trouble.NONE)
BALLAST: Final = "spool.ballast"
pytestmark = pytest.mark.integration


@dataclass(slots=True)
class Rig:
    disk: MountedDisk
    quick_folder: Path
    replayed: Disk = field(default_factory=Disk)

    def run(self, fault: Fault, *, is_closed: bool = True) -> tuple[Ending, list[Step]]:
        """A run on an empty disk: how it ended, and what reached the disk."""
        for path in self.disk.folder.iterdir():
            path.unlink()
        self._catch_up()
        self.replayed.notes.clear()
        self.disk.fail(fault)
        ending = use_spool(self.disk.folder, RECORDS, is_closed=is_closed)
        return ending, self._catch_up()

    def start_again(self) -> tuple[Ending, list[str]]:
        """What the next process makes of it, and what is broken after a power cut on top of that."""
        ending = use_spool(self.disk.folder, RECORDS_AFTER, is_closed=False)
        self._catch_up()
        promised = Promised.by(self.replayed.notes)
        broken = [
            f"{leave.value} of the rest left: {one}"
            for leave in Leave
            for one in after_start(self.replayed.after_cut(leave, Random(1)), promised, self.quick_folder)
        ]
        return ending, broken

    def _catch_up(self) -> list[Step]:
        steps = self.disk.new_steps()
        for step in steps:
            self.replayed.apply(step)
        return steps


@pytest.fixture
def rig(tmp_path: Path, quick_folder: Path) -> Iterator[Rig]:
    with mounted_disk(tmp_path) as disk:
        yield Rig(disk, quick_folder)


def test_failed_sync_ends_the_process_and_the_next_start_keeps_every_promise(rig: Rig) -> None:
    last = count(rig, Sync)
    for at in range(1, last + 1, max(EVERY // 2, 1)):
        for is_closed in (True, False) if EVERY == 1 else (at % 2 == 0,):
            ending, _ = rig.run(Fault(Trouble.SYNC_FAILS, at), is_closed=is_closed)
            assert (at, ending) == (at, Ending.DISK_ERROR)
            rig.disk.fail(NO_FAULT)
            assert (at, is_closed, *rig.start_again()) == (at, is_closed, Ending.WELL, [])


def test_failed_write_ends_the_process_and_the_next_start_keeps_every_promise(rig: Rig) -> None:
    for at in range(1, count(rig, Write) + 1, EVERY):
        ending, _ = rig.run(Fault(Trouble.WRITE_FAILS, at), is_closed=at % 4 < 2)
        assert (at, ending) == (at, Ending.DISK_ERROR)
        rig.disk.fail(NO_FAULT)
        assert (at, *rig.start_again()) == (at, Ending.WELL, [])


def test_write_that_finds_no_room_is_survived_or_ends_the_process_cleanly(rig: Rig) -> None:
    for at in range(1, count(rig, Write) + 1, EVERY):
        ending, _ = rig.run(Fault(Trouble.WRITE_FINDS_NO_ROOM, at), is_closed=at % 4 < 2)
        assert ending in {Ending.WELL, Ending.DISK_ERROR}
        rig.disk.fail(NO_FAULT)
        assert (at, *rig.start_again()) == (at, Ending.WELL, [])


def test_disk_that_fills_while_the_ballast_is_held_stops_nothing_not_even_the_next_start(rig: Rig) -> None:
    _, steps = rig.run(NO_FAULT)
    ballast = next(place for place, step in enumerate(steps) if isinstance(step, Name) and step.name == BALLAST)
    first, last = (sum(isinstance(step, Write) for step in some) for some in (steps[:ballast], steps))
    for at in range(first + 1, last + 1, EVERY):
        ending, _ = rig.run(Fault(Trouble.DISK_FILLS, at), is_closed=at % 4 < 2)
        assert (at, ending) == (at, Ending.WELL)
        # The disk is as full as before.
        assert (at, *rig.start_again()) == (at, Ending.WELL, [])


def count(rig: Rig, kind: type[Write | Sync]) -> int:
    """How many of them a run without faults has while the spool is in use."""
    _, steps = rig.run(NO_FAULT, is_closed=False)
    return sum(isinstance(step, kind) for step in steps)
