from __future__ import annotations

from typing import Any

import pytest

from device_agent.spool_words import data_lines, spool_lines

NOW_MS = 1_800_000_000_000


def answer(**changes: Any) -> dict[str, Any]:
    quiet = {"last": 120, "acked": 120, "shed": 0, "waiting": 0, "oldest_waiting_ms": 0}
    room = {"used_bytes": 1_310_720, "quota_bytes": 32 * 2**20, "is_disk_full": False}
    streams = {"bulk": dict(quiet), "urgent": dict(quiet)}
    all_of_it = {"trusted_ms": NOW_MS, "spool": "ok", "room": room, "streams": streams, "declarations_waiting": 0}
    return all_of_it | changes


def test_quiet_spool_is_three_facts_and_no_gap() -> None:
    assert list(spool_lines(answer())) == [
        "spool: 1.2 of 32.0 MiB used (3 %), file is sound",
        "bulk: 0 not acknowledged of 120, 0 given up",
        "urgent: 0 not acknowledged of 120, 0 given up",
        "gaps: none",
    ]


@pytest.mark.parametrize(
    ("age_s", "words"),
    [(-5, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 days")],
)
def test_oldest_record_is_as_old_as_it_has_waited(age_s: int, words: str) -> None:
    urgent = {"last": 9, "acked": 4, "shed": 0, "waiting": 5, "oldest_waiting_ms": NOW_MS - age_s * 1000}
    line = list(spool_lines(answer(streams={"urgent": urgent})))[1]
    assert line == f"urgent: 5 not acknowledged of 9, 0 given up, oldest waiting for {words}"


def test_record_saved_from_a_damaged_file_has_no_known_time() -> None:
    urgent = {"last": 9, "acked": 4, "shed": 0, "waiting": 5, "oldest_waiting_ms": 0}
    assert "oldest of unknown time" in list(spool_lines(answer(streams={"urgent": urgent})))[1]


def test_full_disk_damage_and_gaps_are_said() -> None:
    bulk = {"last": 900, "acked": 100, "shed": 512, "waiting": 288, "oldest_waiting_ms": NOW_MS}
    full = {"used_bytes": 2**20, "quota_bytes": 2**20, "is_disk_full": True}
    said = answer(spool="row 3 missing", room=full, streams={"bulk": bulk}, declarations_waiting=2)
    lines = list(spool_lines(said))
    assert lines[0] == "spool: 1.0 of 1.0 MiB used (100 %), FILE IS DAMAGED: row 3 missing"
    assert lines[1].startswith("spool: THE DISK IS FULL")
    assert lines[-1] == (
        "gaps: 512 records given up for want of room, each declared; declarations not yet acknowledged: 2"
    )
    assert list(spool_lines(said | {"declarations_waiting": 0}))[-1].endswith("; the server knows of all")


def data(level: str, slower: int, month_limit: int = 0) -> dict[str, Any]:
    used = {"day_bytes": 2**19, "day_limit_bytes": 0, "month_bytes": 9 * 2**20, "month_limit_bytes": month_limit}
    return {"data": {**used, "level": level, "slower": slower}}


def test_what_the_link_carried_is_said_with_its_bounds_and_what_is_done_without() -> None:
    assert list(data_lines(data("free", 1))) == ["data: 9.00 MiB this month, 0.50 MiB this day"]
    near = list(data_lines(data("near", 4, 10 * 2**20)))
    assert near[0] == "data: 9.00 of 10.0 MiB this month, 0.50 MiB this day"
    assert near[1].startswith("data: BUDGET nearly spent: no live mode, health 4 times more rarely")
    assert "BUDGET SPENT" in list(data_lines(data("spent", 24)))[1]
