"""The power goes at any write and sync of a run: what `commit` returned from is there when the spool is opened again.

Each cut is made from the disk's own log, so that no moment is missed. `POWERCUT_EVERY=1` cuts at every step, else at
every tenth.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Final

import pytest

from device_agent.core.records import Changes
from tests.faults.disk import Disk, Image, Leave, Step
from tests.faults.mounted import mounted_disk
from tests.faults.promise import Promised, after_start, fill, opened

RECORDS: Final = 200
SEED: Final = 20
pytestmark = pytest.mark.integration


def test_whatever_the_moment_nothing_committed_is_lost_and_the_spool_opens(tmp_path: Path, quick_folder: Path) -> None:
    with mounted_disk(tmp_path) as disk:
        with closing(opened(disk.folder)) as spool:
            fill(spool, disk.note, RECORDS // 2)
        with closing(opened(disk.folder)) as spool:
            fill(spool, disk.note, RECORDS // 2)
        steps = disk.new_steps()
    every = int(os.environ.get("POWERCUT_EVERY", "10"))
    cuts, failures = cut_at(steps, every, quick_folder)
    assert not failures, failures[:10]
    # As pytest shows it with -s; fewer would mean that the log is not whole.
    print(f"{RECORDS} records, {len(steps)} steps, {cuts} cuts, {len(failures)} promises broken")  # noqa: T201 - the figure of the long form
    assert cuts > RECORDS / every


@pytest.mark.parametrize("level", ["NORMAL", "OFF"])
def test_lesser_synchronous_setting_is_seen_to_lose_records(tmp_path: Path, quick_folder: Path, level: str) -> None:
    with mounted_disk(tmp_path) as disk, closing(opened(disk.folder)) as spool:
        spool._db.execute(f"PRAGMA synchronous = {level}")
        fill(spool, disk.note, 15)
        _, failures = cut_at(disk.new_steps(), 10, quick_folder)
    assert any("is lost" in one for one in failures)


def test_promise_made_before_the_commit_is_seen_to_be_broken(tmp_path: Path, quick_folder: Path) -> None:
    with mounted_disk(tmp_path) as disk, closing(opened(disk.folder)) as spool:
        fill(spool, disk.note, 1)
        disk.note("committed urgent 2 2")
        spool.commit(Changes(facts={"other": "fact"}), 1)
        _, failures = cut_at(disk.new_steps(), 2, quick_folder)
    assert any("urgent 2 is lost" in one for one in failures)


def cut_at(steps: Sequence[Step], every: int, folder: Path) -> tuple[int, list[str]]:
    """How many cuts were tried, and what was broken after which; all kinds of cut at each step, or by turns."""
    replayed = Disk()
    cuts = 0
    failures: list[str] = []
    before: dict[Leave, tuple[Image, int]] = {}
    kinds = list(Leave)
    for place, step in enumerate(steps):
        replayed.apply(step)
        if place % every:
            continue
        promised = Promised.by(replayed.notes)
        for leave in kinds if every == 1 else [kinds[place // every % len(kinds)]]:
            found = (replayed.after_cut(leave, Random(SEED + place)), len(replayed.notes))
            # Between two syncs the strictest cut leaves the same over and over.
            if before.get(leave) == found:
                continue
            before[leave] = found
            cuts += 1
            broken = after_start(found[0], promised, folder)
            failures += [f"cut at step {place}, {leave.value} of the rest left: {one}" for one in broken]
    return cuts, failures
