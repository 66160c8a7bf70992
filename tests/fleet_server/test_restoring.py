"""A restore and those who write to the database, each with descriptors of its own as processes have."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleet_server.restoring import (
    AnotherRestore,
    WritersPlace,
    declared,
    has_writers,
    restoring_since,
    without_writers,
    writing,
)

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
PATIENCE_S = 20.0


def test_writers_share_and_a_restore_waits_for_all_of_them(tmp_path: Path) -> None:
    assert not has_writers(tmp_path)
    one, other = WritersPlace(tmp_path), WritersPlace(tmp_path)
    assert one.take()
    assert other.take()
    assert has_writers(tmp_path)
    with declared(tmp_path, NOON), without_writers(tmp_path, 0.0) as is_alone:
        assert not is_alone
    one.leave()
    letting_go = threading.Timer(0.3, other.leave)
    letting_go.start()
    with declared(tmp_path, NOON), without_writers(tmp_path, PATIENCE_S) as is_alone:
        assert is_alone
        assert not has_writers(tmp_path / "elsewhere")
        assert not one.take()
    assert one.take()
    one.leave()


def test_everybody_sees_since_when_a_restore_is_at_work_and_no_second_one_begins(tmp_path: Path) -> None:
    assert restoring_since(tmp_path) is None
    with declared(tmp_path, NOON):
        assert restoring_since(tmp_path) == NOON
        assert not WritersPlace(tmp_path).take(), "who comes between the two locks gives way as well"
        with pytest.raises(AnotherRestore), declared(tmp_path, NOON):
            pass
    assert restoring_since(tmp_path) is None


def test_who_only_writes_is_stopped_by_a_restore_and_begins_after_it(tmp_path: Path) -> None:
    stop = threading.Event()
    with writing(tmp_path, stop):
        assert has_writers(tmp_path)
        with declared(tmp_path, NOON):
            assert stop.wait(PATIENCE_S)
    again, begun = threading.Event(), threading.Event()

    def work() -> None:
        with writing(tmp_path, again):
            begun.set()

    with declared(tmp_path, NOON):
        waiting = threading.Thread(target=work)
        waiting.start()
        assert not begun.wait(0.7)
    assert begun.wait(PATIENCE_S)
    waiting.join(PATIENCE_S)
