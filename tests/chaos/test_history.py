"""The account that an agent writes, and how it is read."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.history import HistoryReader, Journal, Standing

A, B = "a" * 32, "b" * 32


def reader(path: Path) -> HistoryReader:
    return HistoryReader("term-0001", path)


def test_records_get_the_numbers_that_the_spool_gave_them(tmp_path: Path) -> None:
    account = Journal(tmp_path / "h")
    account.write("intends", 1, [("urgent", "~1"), ("bulk", "~2"), ("urgent", "~3")])
    account.write("done", 1, {"urgent": (A, 7, 0), "bulk": (B, 4, 0)})
    found = reader(tmp_path / "h").read()
    assert [(one.mark, one.stream, one.seq) for one in found.intents] == [("~1", A, 6), ("~2", B, 4), ("~3", A, 7)]
    assert {one.standing for one in found.intents} == {Standing.KEPT}


def test_what_a_kill_cut_off_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "h"
    Journal(path).write("intends", 1, [("urgent", "~1")])
    with path.open("ab") as file:
        file.write(b'["done",1,{"urg')
    account = Journal(path)
    account.write("intends", 1, [("urgent", "~2")])
    account.write("failed", 1)
    found = reader(path).read()
    assert [one.standing for one in found.intents] == [Standing.INTENDED, Standing.REFUSED]
    assert (found.torn_lines, found.starts) == (1, 2)


def test_reading_goes_on_where_it_ended_and_waits_for_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "h"
    account, reading = Journal(path), reader(path)
    account.write("intends", 1, [("urgent", "~1")])
    assert reading.read().intents[0].standing is Standing.INTENDED
    with path.open("ab") as file:
        file.write(b'["done",1,{"urgent":["%s",1,0]' % A.encode())
        file.flush()
        assert reading.read().intents[0].standing is Standing.INTENDED
        file.write(b"}]\n")
    assert reading.read().intents[0].standing is Standing.KEPT
    assert len(reading.read().intents) == 1


def test_an_agent_is_drained_when_all_it_made_is_acknowledged(tmp_path: Path) -> None:
    account, reading = Journal(tmp_path / "h"), reader(tmp_path / "h")
    account.write("intends", 1, [("urgent", "~1")])
    account.write("done", 1, {"urgent": (A, 1, 0), "bulk": (B, 0, 0)})
    account.write("fed")
    assert not reading.read().is_drained
    account.write("acked", "urgent", A, 1)
    assert reading.read().is_drained
    account.write("acked", "urgent", A, 0)
    assert not reading.read().is_drained, "the server was set back"
