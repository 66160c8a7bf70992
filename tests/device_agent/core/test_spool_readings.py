from __future__ import annotations

from device_agent.core.records import RANK_RESULT, Changes, NewRecord
from device_agent.core.spool_readings import of_the_spool
from device_agent.drivers.measured import OF_THE_AGENT
from protocol.streams import StreamKind
from tests.device_agent.core.rig import MemoryStore


def waiting(oldest_ms: int | None, payload: bytes = b"x") -> MemoryStore:
    store = MemoryStore(oldest_ms=oldest_ms)
    store.commit(Changes(records=[NewRecord(StreamKind.URGENT, RANK_RESULT, payload)]), 0)
    return store


def test_share_of_the_room_and_age_of_the_oldest_are_told() -> None:
    store = waiting(1_000_000, b"x" * 2**18)
    told = of_the_spool(store, 1_000_000 + 5_400_000)
    assert told == {"agent.queue_depth": 1, "agent.spool_used_pct": 25.0, "agent.spool_oldest_h": 1.5}
    assert tuple(told) == OF_THE_AGENT


def test_nothing_that_waits_is_of_age_zero_and_an_unknown_age_is_not_told() -> None:
    assert of_the_spool(MemoryStore(), 5)["agent.spool_oldest_h"] == 0.0
    assert "agent.spool_oldest_h" not in of_the_spool(waiting(None), 5)


def test_clock_that_was_set_back_makes_no_negative_age() -> None:
    assert of_the_spool(waiting(9_000_000), 5)["agent.spool_oldest_h"] == 0.0
