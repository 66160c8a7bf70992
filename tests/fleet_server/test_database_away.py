"""What callers and people are told while the database takes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from tests.fleet_server.api import Api, running_api


@pytest.fixture
def api(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Api]:
    def refuse(*_: object) -> None:
        raise OperationalError("SELECT", {}, OSError("server closed the connection"))

    with running_api(sqlite_engine, tmp_path) as running:
        event.listen(sqlite_engine, "before_cursor_execute", refuse)
        yield running
        event.remove(sqlite_engine, "before_cursor_execute", refuse)


def test_a_program_is_told_to_come_again(api: Api) -> None:
    answer = api.get("/api/v1/devices")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_away")
    assert answer.headers["Retry-After"] == "2"
    assert "server closed" not in answer.text


def test_a_person_gets_a_page_that_says_no_more_than_a_program_is_told(api: Api) -> None:
    api.client.cookies.set("tillmedic", "x" * 43)
    answer = api.client.get("/", headers={"accept": "text/html"}, follow_redirects=False)
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert "database_away" in answer.text
    assert "server closed" not in answer.text


def test_readiness_names_the_database(api: Api) -> None:
    answer = api.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == "not reachable"
