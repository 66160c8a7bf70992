from __future__ import annotations

import itertools
from random import Random

from tests.faults.disk import SECTOR_BYTES, Disk, Leave, Name, Resize, Step, Sync, SyncFolder, Write

DICE = Random(7)
NAMED: list[Step] = [Name("a", 1), SyncFolder()]


def disk_after(*steps: Step) -> Disk:
    disk = Disk()
    for step in steps:
        disk.apply(step)
    return disk


def test_write_is_seen_at_once_and_safe_after_a_sync() -> None:
    disk = disk_after(*NAMED, Write(1, 0, b"one"), Sync(1, is_kept=True), Write(1, 3, b"two"))
    assert disk.seen(1) == b"onetwo"
    assert disk.after_cut(Leave.NOTHING, DICE) == {"a": b"one"}
    assert disk.after_cut(Leave.ALL, DICE) == {"a": b"onetwo"}


def test_what_a_failed_sync_lost_stays_lost_though_it_is_seen() -> None:
    lost = Write(1, 0, b"lost"), Sync(1, is_kept=False)
    disk = disk_after(*NAMED, *lost, Write(1, 4, b"kept"), Sync(1, is_kept=True))
    assert disk.seen(1) == b"lostkept"
    assert disk.after_cut(Leave.ALL, DICE) == {"a": b"\0\0\0\0kept"}


def test_name_is_safe_when_its_folder_was_synced() -> None:
    disk = disk_after(*NAMED, Write(1, 0, b"x"), Sync(1, is_kept=True), Name("b", 1), Name("a", None))
    assert disk.after_cut(Leave.NOTHING, DICE) == {"a": b"x"}
    assert disk.after_cut(Leave.ALL, DICE) == {"b": b"x"}
    assert {tuple(disk.after_cut(Leave.SOME, Random(seed))) for seed in range(30)} == {("a",), ("a", "b"), ("b",)}


def test_some_of_a_write_is_whole_sectors_of_it() -> None:
    half = SECTOR_BYTES // 2
    old = Resize(1, 4 * SECTOR_BYTES), Sync(1, is_kept=True)
    disk = disk_after(*NAMED, *old, Write(1, half, b"w" * 2 * SECTOR_BYTES))
    found = {disk.after_cut(Leave.SOME, Random(seed))["a"] for seed in range(60)}
    sectors = [half, SECTOR_BYTES, half]
    possible = {
        bytes(half)
        + b"".join(one * size for one, size in zip(parts, sectors, strict=True))
        + bytes(SECTOR_BYTES + half)
        for parts in itertools.product((b"w", b"\0"), repeat=len(sectors))
    }
    assert found == possible
