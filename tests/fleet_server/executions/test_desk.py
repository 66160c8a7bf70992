"""One request, one transaction; what the database ended in favour of another is asked once more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from tests.fleet_server.api import Api, running_api

EXECUTIONS = "/api/v1/executions"


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        yield running


@contextmanager
def ended_by_deadlock(engine: Engine, times: int) -> Iterator[None]:
    """The first ``times`` transactions that write an execution are ended at that moment."""
    left = times

    def end(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal left
        if left and statement.startswith(("INSERT INTO execution", "UPDATE execution")):
            left -= 1
            raise OperationalError(statement, {}, psycopg.errors.DeadlockDetected("deadlock detected"))

    event.listen(engine, "before_cursor_execute", end)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", end)


def ask(api: Api) -> tuple[int, dict[str, str]]:
    answer = api.post(EXECUTIONS, {"device": api.fleet.terminal, "action": "agent.echo"})
    return answer.status_code, answer.json()


def test_request_ended_by_a_deadlock_is_made_once_and_sent_once(api: Api) -> None:
    with ended_by_deadlock(api.engine, 1):
        status, asked = ask(api)
    assert status == 201
    assert [one["id"] for one in api.get(EXECUTIONS).json()["items"]] == [asked["id"]]
    assert [command.execution for _, command in api.broker.commands()] == [asked["id"]]
    assert "tillmedic_transactions_retried_total 1.0" in api.client.get("/metrics").text


def test_cancel_ended_by_a_deadlock_is_done_once_more(api: Api) -> None:
    _, asked = ask(api)
    with ended_by_deadlock(api.engine, 1):
        answer = api.post(f"{EXECUTIONS}/{asked['id']}/cancel")
    assert answer.status_code == 200
    assert answer.json()["cancel_asked_by"] == "support"


def test_request_that_is_ended_twice_is_refused_and_leaves_nothing(api: Api) -> None:
    with ended_by_deadlock(api.engine, 2):
        status, refused = ask(api)
    assert (status, refused["code"]) == (503, "database_away")
    assert api.get(EXECUTIONS).json()["items"] == []
    assert api.broker.commands() == []
