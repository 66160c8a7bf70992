from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from fleet_server.db import transaction
from fleet_server.kit.after_commit import after_commit


def test_actions_run_once_in_order_and_only_after_the_commit(sqlite_engine: Engine) -> None:
    done: list[int] = []
    with transaction(sqlite_engine) as session:
        session.execute(text("SELECT 1"))
        after_commit(session, lambda: done.append(1))
        after_commit(session, lambda: done.append(2))
        assert done == []
    assert done == [1, 2]


def test_actions_of_a_transaction_that_failed_never_run(sqlite_engine: Engine) -> None:
    done: list[int] = []

    def fail() -> None:
        with transaction(sqlite_engine) as session:
            session.execute(text("SELECT 1"))
            after_commit(session, lambda: done.append(1))
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert done == []


def test_sessions_do_not_run_each_others_actions(sqlite_engine: Engine) -> None:
    done: list[str] = []
    with transaction(sqlite_engine) as one:
        after_commit(one, lambda: done.append("one"))
        with transaction(sqlite_engine) as other:
            after_commit(other, lambda: done.append("other"))
        assert done == ["other"]
    assert done == ["other", "one"]
