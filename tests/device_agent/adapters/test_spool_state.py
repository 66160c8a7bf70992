from __future__ import annotations

from contextlib import closing
from pathlib import Path

from device_agent.adapters.spool_schema import PAGE_BYTES
from device_agent.adapters.spool_state import Waiting
from device_agent.core.records import Changes
from tests.device_agent.adapters.test_spool import BULK, URGENT, opened, records, tombstones


def test_new_spool_is_almost_empty_and_waits_for_nothing(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db")) as spool:
        state = spool.state()
    assert (state.quota_bytes, state.is_disk_full, state.declarations_waiting) == (32 * 2**20, False, 0)
    assert 0 < state.used_bytes < 20 * PAGE_BYTES
    assert state.waiting == {URGENT: Waiting(0, 0), BULK: Waiting(0, 0)}


def test_what_waits_is_counted_from_the_oldest_that_the_server_has_not_acknowledged(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db")) as spool:
        for at_ms in (1000, 2000, 3000):
            spool.commit(Changes(records=records(URGENT, 2)), at_ms)
        spool.acknowledge(URGENT, 3)
        assert spool.state().waiting == {URGENT: Waiting(3, 2000), BULK: Waiting(0, 0)}


def test_full_spool_is_near_its_quota_and_says_which_declarations_the_server_has_not_heard(tmp_path: Path) -> None:
    quota_bytes = 120 * PAGE_BYTES
    with closing(opened(tmp_path / "spool.db", quota_bytes)) as spool:
        spool.commit(Changes(records=records(BULK, 60, b"x" * 3000)), 1)
        for _ in range(10):
            spool.commit(Changes(records=records(URGENT, 6, b"y" * 3000)), 1)
        state = spool.state()
        assert quota_bytes // 2 < state.used_bytes <= quota_bytes
        assert state.declarations_waiting == len(tombstones(spool)) > 0
        spool.acknowledge(URGENT, spool.positions()[URGENT].last)
        assert spool.state().declarations_waiting == 0


def test_age_of_the_oldest_that_waits_is_of_what_is_not_acknowledged(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "spool.db")) as spool:
        assert spool.fill().oldest_ms is None
        for kind, at_ms in ((BULK, 50), (URGENT, 70), (BULK, 90)):
            spool.commit(Changes(records=records(kind, 1)), at_ms)
        assert spool.fill().oldest_ms == 50
        spool.acknowledge(BULK, 1)
        assert spool.fill().oldest_ms == 70
        assert 0 < spool.fill().used_bytes < spool.fill().quota_bytes == 32 * 2**20
