from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.adapters import ballast
from device_agent.adapters.spool import JOURNAL_ROWS, RETENTION_MS, RETENTION_SHARE, Spool, SpoolFailed
from device_agent.adapters.spool_schema import PAGE_BYTES
from device_agent.core.records import RANK_DECLARATION, RANK_HEALTH, RANK_RESULT, Changes, NewRecord
from device_agent.core.shedding import SHED_RECORDS, runs
from protocol import codec
from protocol.records import FirstKey, Record, RecordBody, Tombstone
from protocol.streams import StreamKind

URGENT, BULK = StreamKind.URGENT, StreamKind.BULK


def wrap(body: RecordBody) -> bytes:
    return codec.to_json(record(body))


def record(body: RecordBody, was: FirstKey | None = None) -> Record:
    return Record("d-terminal0000001", "b" * 32, 1, 1, body, was)


def read_record(payload: bytes) -> Record | None:
    found = codec.from_json(payload, Record)
    return found if isinstance(found, Record) else None


def opened(path: Path, quota_bytes: int = 32 * 2**20) -> Spool:
    return Spool(path, wrap, quota_bytes=quota_bytes)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(opened(tmp_path / "spool.db")) as spool:
        yield spool


def records(kind: StreamKind, count: int, payload: bytes = b"{}") -> list[NewRecord]:
    return [NewRecord(kind, RANK_RESULT if kind is URGENT else RANK_HEALTH, payload)] * count


def held(spool: Spool, kind: StreamKind) -> list[int]:
    found: list[int] = []
    while rows := spool.read(kind, (found[-1] if found else 0) + 1, max_records=10_000, max_bytes=10**9):
        found += [seq for seq, _ in rows]
    return found


def test_each_stream_is_numbered_from_1_without_holes(spool: Spool) -> None:
    spool.commit(Changes(records=records(URGENT, 3) + records(BULK, 2)), 1)
    spool.commit(Changes(records=records(URGENT, 1)), 2)
    assert (held(spool, URGENT), held(spool, BULK)) == ([1, 2, 3, 4], [1, 2])


def test_record_journal_row_and_fact_are_one_transaction(tmp_path: Path) -> None:
    unwritable: dict[str, str | None] = {"floor_ms": object()}  # type: ignore[dict-item]  # what cannot be written
    broken = Changes(records=records(URGENT, 1), journal={"a": b"row"}, facts=unwritable)
    with closing(opened(tmp_path / "spool.db")) as spool, pytest.raises(sqlite3.ProgrammingError):
        spool.commit(broken, 1)
    with closing(opened(tmp_path / "spool.db")) as spool:
        assert (held(spool, URGENT), spool.journal(), spool.fact("floor_ms")) == ([], {}, None)


def test_numbers_go_on_after_a_restart_under_the_same_stream_id(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db")) as spool:
        spool.commit(Changes(records=records(URGENT, 2), facts={"flow": "x"}), 1)
        spool.acknowledge(URGENT, 1)
        spool.commit(Changes(facts={"flow": "y"}), 1)
        before = spool.positions()[URGENT]
    with closing(opened(tmp_path / "spool.db")) as spool:
        assert spool.positions()[URGENT] == before
        assert (before.last, before.acked, spool.fact("flow")) == (2, 1, "y")


def test_file_is_for_its_owner_only(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db")):
        assert stat.S_IMODE((tmp_path / "spool.db").stat().st_mode) == 0o600


def test_read_ends_at_a_hole_and_at_the_limits(spool: Spool) -> None:
    spool.commit(Changes(records=records(URGENT, 9, b"x" * 10)), 1)
    spool._db.execute("DELETE FROM record WHERE seq = 4")
    assert [seq for seq, _ in spool.read(URGENT, 1, max_records=100, max_bytes=10**6)] == [1, 2, 3]
    assert [seq for seq, _ in spool.read(URGENT, 4, max_records=2, max_bytes=10**6)] == [5, 6]
    assert [seq for seq, _ in spool.read(URGENT, 5, max_records=100, max_bytes=25)] == [5, 6]
    assert [seq for seq, _ in spool.read(URGENT, 5, max_records=100, max_bytes=1)] == [5]


def test_acknowledged_records_stay_for_the_retention_window(spool: Spool) -> None:
    spool.commit(Changes(records=records(URGENT, 3)), 1)
    spool.acknowledge(URGENT, 2)
    spool.tidy(RETENTION_MS)
    assert held(spool, URGENT) == [1, 2, 3]
    spool.tidy(RETENTION_MS + 2)
    assert held(spool, URGENT) == [3]


def test_acknowledged_records_take_a_fifth_of_the_quota_at_most(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db", 400 * PAGE_BYTES)) as spool:
        spool.commit(Changes(records=records(BULK, 300, b"x" * 3000)), 1)
        spool.acknowledge(BULK, 300)
        for _ in range(10):
            spool.tidy(2)
        used = spool.fill().used_bytes
        assert used <= RETENTION_SHARE * 400 * PAGE_BYTES
        held_then = len(held(spool, BULK))
        assert 0 < held_then < 300
        spool.tidy(2)
        assert len(held(spool, BULK)) == held_then, "what fits is kept for a server that is set back"


def test_full_spool_gives_up_acknowledged_records_first_and_declares_nothing(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db", 80 * PAGE_BYTES)) as spool:
        spool.commit(Changes(records=records(BULK, 60, b"x" * 3000)), 1)
        spool.acknowledge(BULK, 60)
        shed = [spool.commit(Changes(records=records(URGENT, 5, b"y" * 3000)), 1) for _ in range(8)]
        assert not any(shed)
        assert held(spool, URGENT) == list(range(1, 41))


def test_full_spool_sheds_samples_before_results_and_declares_each_run(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db", 120 * PAGE_BYTES)) as spool:
        spool.commit(Changes(records=records(BULK, 60, b"x" * 3000)), 1)
        for _ in range(10):
            spool.commit(Changes(records=records(URGENT, 6, b"y" * 3000)), 1)
        graves = tombstones(spool)
        assert {(one.stream, one.rank) for one in graves} == {(spool.positions()[BULK].stream, RANK_HEALTH)}
        assert sum(one.count for one in graves) == spool.positions()[BULK].shed == 60 - len(held(spool, BULK))


def test_what_tombstones_said_is_never_given_up(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db", 100 * PAGE_BYTES)) as spool:
        for _ in range(60):
            spool.commit(Changes(records=records(URGENT, 5, b"y" * 3000)), 1)
        gone = {seq for one in tombstones(spool) for seq in range(one.first_seq, one.last_seq + 1)}
        position = spool.positions()[URGENT]
        assert held(spool, URGENT) == list(range(position.oldest_held, position.last + 1))
        assert gone == set(range(1, position.oldest_held))
        assert position.shed == sum(one.count for one in tombstones(spool))


def test_quota_that_holds_not_even_one_record_is_an_error_and_not_a_loop(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db", 12 * PAGE_BYTES)) as spool, pytest.raises(SpoolFailed):
        spool.commit(Changes(records=records(URGENT, 1, b"z" * 100_000)), 1)


@pytest.mark.parametrize("size", [200, 900, 3000])
def test_urgent_records_alone_may_outgrow_the_smallest_spool_again_and_again(tmp_path: Path, size: int) -> None:
    path = tmp_path / "spool.db"
    for _ in range(3):
        with closing(opened(path, 64 * PAGE_BYTES)) as spool:
            for _ in range(40):
                spool.commit(Changes(records=records(URGENT, 13, b"y" * size), facts={"counter": "9"}), 1)
            position = spool.positions()[URGENT]
            assert path.stat().st_size <= 64 * PAGE_BYTES
            assert len(tombstones(spool)) <= 3
            assert held(spool, URGENT) == list(range(position.oldest_held, position.last + 1))
            assert position.shed == sum(one.count for one in tombstones(spool))


def test_tombstone_that_was_read_stays_as_it_is_and_one_that_was_not_grows(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db", 64 * PAGE_BYTES)) as spool:
        while len(tombstones(spool)) == 0:
            spool.commit(Changes(records=records(BULK, 9, b"x" * 900)), 1)
        (first,) = tombstones(spool)
        while tombstones(spool) == [first]:
            spool.commit(Changes(records=records(BULK, 9, b"x" * 900)), 1)
        (grown,) = tombstones(spool)
        assert (grown.first_seq, grown.last_seq) == (first.first_seq, spool.positions()[BULK].oldest_held - 1)
        spool.read(URGENT, 1, max_records=1, max_bytes=10**6)
        while tombstones(spool) == [grown]:
            spool.commit(Changes(records=records(BULK, 9, b"x" * 900)), 1)
        assert tombstones(spool)[0] == grown
        assert tombstones(spool)[1].first_seq == grown.last_seq + 1


def test_declared_samples_and_results_cost_one_tombstone_each_however_often_it_is_full(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db", 64 * PAGE_BYTES)) as spool:
        for _ in range(50):
            spool.commit(Changes(records=records(BULK, 9, b"x" * 900)), 1)
            spool.commit(Changes(records=records(URGENT, 9, b"y" * 900)), 1)
        graves = {one.stream: one for one in tombstones(spool)}
        assert len(graves) == len(tombstones(spool)) == 2
        for position in spool.positions().values():
            assert graves[position.stream].count == position.shed


def tombstones(spool: Spool) -> list[Tombstone]:
    rows = spool._db.execute("SELECT payload FROM record WHERE rank = ?", (RANK_DECLARATION,)).fetchall()
    found = [one.body for row in rows if (one := read_record(row[0])) is not None]
    return [body for body in found if isinstance(body, Tombstone)]


def test_renewed_stream_keeps_what_was_not_acknowledged_under_new_numbers(spool: Spool) -> None:
    spool.commit(Changes(records=records(URGENT, 5)), 1)
    spool.acknowledge(URGENT, 2)
    assert spool.renew_stream(URGENT, "f" * 32) == 3
    position = spool.positions()[URGENT]
    assert (position.stream, position.last, position.acked) == ("f" * 32, 3, 0)


def test_journal_keeps_order_replaces_rows_and_forgets_the_oldest(spool: Spool) -> None:
    spool.commit(Changes(journal={f"e{number}": b"1" for number in range(JOURNAL_ROWS + 20)}), 1)
    spool.commit(Changes(journal={"e500": b"2"}), 1)
    spool.tidy(1)
    rows = spool.journal()
    assert len(rows) == JOURNAL_ROWS
    assert (next(iter(rows)), rows["e500"]) == ("e20", b"2")


COMMIT_FOREVER = """
import sys
from pathlib import Path
from tests.device_agent.adapters.test_spool import Changes, URGENT, opened, records
spool = opened(Path(sys.argv[1]))
while True:
    spool.commit(Changes(records=records(URGENT, 3)), 1)
    print(spool.positions()[URGENT].last, flush=True)
"""


def test_what_a_commit_returned_from_survives_kill(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    said = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", COMMIT_FOREVER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(20)]
        process.kill()
        lines += process.communicate()[0].splitlines()
        said = max([said, *(int(line) for line in lines if line.strip().isdigit())])
    with closing(opened(path)) as spool:
        last = spool.positions()[URGENT].last
        assert last >= said
        assert held(spool, URGENT) == list(range(1, last + 1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_sheds_with_the_room_kept_for_it_and_goes_on(small_disk: Path) -> None:
    with closing(opened(small_disk / "spool.db")) as spool:
        spool.commit(Changes(records=records(BULK, 300, b"x" * 3000)), 1)
        (small_disk / "other").write_bytes(
            b"z" * (24 * 2**20 - 300_000 - sum(f.stat().st_size for f in small_disk.iterdir()))
        )
        for _ in range(60):
            spool.commit(Changes(records=records(URGENT, 5, b"y" * 3000)), 1)
        assert held(spool, URGENT)[-1] == spool.positions()[URGENT].last
        assert sum(one.count for one in tombstones(spool)) == sum(one.shed for one in spool.positions().values()) > 0
        (small_disk / "other").unlink()
        spool.tidy(1)
        assert (small_disk / "spool.ballast").exists()
        assert not spool.state().is_disk_full
        given_up = sum(one.shed for one in spool.positions().values())
        # More than the file was held to while there was no room.
        spool.commit(Changes(records=records(BULK, 700, b"x" * 3000)), 1)
        assert sum(one.shed for one in spool.positions().values()) == given_up


def test_room_is_kept_in_real_blocks_and_not_taken_from_a_disk_that_has_little(small_disk: Path) -> None:
    other, kept = small_disk / "other", small_disk / "spool.ballast"
    other.write_bytes(bytes(24 * 2**20 - ballast.ROOMY_BYTES + 64 * 1024))
    assert not ballast.keep(kept)
    assert not kept.exists()
    other.write_bytes(bytes(24 * 2**20 - ballast.ROOMY_BYTES - 64 * 1024))
    assert ballast.keep(kept)
    assert kept.stat().st_blocks * 512 >= ballast.BALLAST_BYTES


@settings(max_examples=50)
@given(st.sets(st.integers(1, 60)))
def test_runs_cover_exactly_what_was_chosen(chosen: set[int]) -> None:
    found = runs(URGENT, sorted(chosen))
    assert [seq for run in found for seq in range(run.first, run.last + 1)] == sorted(chosen)
    assert len(found) <= SHED_RECORDS
