"""A damaged spool is put aside, saved as far as it can be read, and said: whatever page it was, whoever dies."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from device_agent.adapters.spool import Spool
from device_agent.adapters.spool_schema import PAGE_BYTES
from device_agent.core.records import RANK_DECLARATION, RANK_RESULT, Changes, NewRecord
from protocol import codec
from protocol.records import FaultRaised, FirstKey, RecordBody, Severity, SpoolLost
from protocol.session import StreamPosition
from protocol.streams import StreamKind
from tests.device_agent.adapters.test_spool import URGENT, held, opened, read_record, records, tombstones, wrap


def losses(spool: Spool) -> list[SpoolLost]:
    rows = spool._db.execute("SELECT payload FROM record WHERE rank = ? ORDER BY seq", (RANK_DECLARATION,)).fetchall()
    found = [one.body for row in rows if (one := read_record(row[0])) is not None]
    return [body for body in found if isinstance(body, SpoolLost)]


def fault(number: int) -> bytes:
    body = FaultRaised(f"model.{number:05d}", Severity.MINOR, 1, 1, evidence="x" * 300)
    return wrap(body)


def damage(path: Path, first_page: int, pages: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(first_page * PAGE_BYTES)
        file.write(b"\xff" * pages * PAGE_BYTES)


def filled(path: Path, count: int = 400) -> dict[StreamKind, StreamPosition]:
    with closing(opened(path)) as spool:
        spool.commit(Changes(records=[NewRecord(URGENT, RANK_RESULT, fault(1 + n)) for n in range(count)]), 1)
        spool.acknowledge(URGENT, 10)
        spool.commit(Changes(facts={"counter/a/b": "9:1"}), 1)
        return dict(spool.positions())


def saved(spool: Spool) -> list[tuple[FirstKey | None, RecordBody]]:
    rows = spool.read(URGENT, 1, max_records=10**6, max_bytes=10**9)
    found = [record for _, payload in rows if (record := read_record(payload)) is not None]
    return [(one.was, one.body) for one in found if isinstance(one.body, FaultRaised)]


def root_of(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
    return int(found) - 1


@pytest.mark.parametrize("table", ["journal", "stream", "fact"])
def test_what_is_saved_names_the_number_that_it_had_whichever_page_is_damaged(tmp_path: Path, table: str) -> None:
    path = tmp_path / "spool.db"
    old = filled(path)[URGENT].stream
    damage(path, root_of(path, table))
    with closing(opened(path)) as spool:
        numbers = [was.seq for was, _ in saved(spool) if was is not None and was.stream == old]
        # Without the streams' own table it is not known what was acknowledged: all goes again, and is known by its key.
        assert numbers == list(range(1 if table == "stream" else 11, 401))
        assert [codec.to_json(body) for _, body in saved(spool)][-1] == codec.to_json(read_body(fault(400)))
        (loss,) = [one for one in losses(spool) if one.old_stream == old]
        assert (loss.last_known_seq, loss.salvaged) == (400, len(numbers))


def read_body(payload: bytes) -> RecordBody | None:
    found = read_record(payload)
    return found.body if found is not None else None


def test_what_is_saved_twice_names_its_very_first_number(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    old = filled(path)[URGENT].stream
    for _ in range(2):
        damage(path, root_of(path, "journal"))
        opened(path).close()
    with closing(opened(path)) as spool:
        assert [was for was, _ in saved(spool)] == [FirstKey(old, seq) for seq in range(11, 401)]
        assert spool.fact("counter/a/b") == "9:1"


def test_whoever_dies_while_saving_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "spool.db"
    old = filled(path)[URGENT].stream
    damage(path, root_of(path, "journal"))
    for commits in (0, 1, 5):
        with monkeypatch.context() as patched:
            patched.setattr(Spool, "commit", dying_after(commits))
            with pytest.raises(KeyboardInterrupt):
                opened(path)
    with closing(opened(path)) as spool:
        assert [was for was, _ in saved(spool)] == [FirstKey(old, seq) for seq in range(11, 401)]
        assert [one.old_stream for one in losses(spool)].count(old) == 1
    assert (tmp_path / "spool.damaged").exists()
    assert not (tmp_path / "spool.salvage").exists()


def dying_after(commits: int) -> Callable[[Spool, Changes, int], bool]:
    left, plain = [commits], Spool.commit

    def commit(spool: Spool, changes: Changes, at_ms: int) -> bool:
        left[0] -= 1
        if left[0] < 0:
            spool.close()
            raise KeyboardInterrupt
        return plain(spool, changes, at_ms)

    return commit


def test_a_new_file_whose_old_one_lost_its_last_name_in_a_power_cut_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    filled(path)
    damage(path, root_of(path, "journal"))
    with closing(opened(path)) as spool:
        spool.commit(Changes(records=records(URGENT, 1)), 1)
        before = spool.positions()
    (tmp_path / "spool.damaged").rename(tmp_path / "spool.salvage")
    with closing(opened(path)) as spool:
        assert spool.positions() == before


def test_more_than_the_new_file_has_room_for_is_given_up_and_declared(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    filled(path)
    damage(path, root_of(path, "journal"))
    with closing(opened(path, 40 * PAGE_BYTES)) as spool:
        position = spool.positions()[URGENT]
        assert (position.oldest_held > 1, path.stat().st_size <= 40 * PAGE_BYTES) == (True, True)
        assert position.shed == sum(one.count for one in tombstones(spool))
        assert len(losses(spool)) == 2


def test_damaged_file_is_put_aside_and_its_loss_is_declared_under_new_ids(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with closing(opened(path)) as spool:
        spool.commit(Changes(records=records(URGENT, 400, b"x" * 500), facts={"counter/a/b": "9:1"}), 1)
        old = spool.positions()[URGENT].stream
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3 * PAGE_BYTES] = b"\xff" * 3 * PAGE_BYTES
    path.write_bytes(content)
    with closing(opened(path)) as spool:
        assert spool.positions()[URGENT].stream != old
        (loss,) = [one for one in losses(spool) if one.old_stream == old]
        assert loss.last_known_seq == 400
        assert 0 < loss.salvaged < 400
        assert spool.fact("counter/a/b") == "9:1"
    assert (tmp_path / "spool.damaged").exists()


def test_file_of_garbage_is_put_aside_and_said(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"this is no database" * 1000)
    with closing(opened(path)) as spool:
        assert spool.salvaged is not None
        assert len(held(spool, URGENT)) == 1


def test_loss_of_an_older_spool_is_still_said_when_what_lies_around_it_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"this is no database" * 1000)
    with closing(opened(path, 64 * PAGE_BYTES)) as spool:
        for _ in range(60):
            spool.commit(Changes(records=records(URGENT, 13, b"y" * 900)), 1)
        assert len(losses(spool)) == 1
        gone = {seq for one in tombstones(spool) for seq in range(one.first_seq, one.last_seq + 1)}
        assert gone | set(held(spool, URGENT)) == set(range(1, spool.positions()[URGENT].last + 1))
        assert not gone & set(held(spool, URGENT))
