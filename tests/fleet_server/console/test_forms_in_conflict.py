"""Two who write at once: the form of a person is done once more, and neither refused nor done twice."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text
from sqlmodel import select
from starlette.testclient import TestClient

from fleet_server.app import create_app
from fleet_server.auth.dependencies import passwords
from fleet_server.auth.passwords import Passwords
from fleet_server.db import reading, transaction
from fleet_server.executions.models import Execution
from fleet_server.kit.times import utc_now
from fleet_server.timeline import writer
from fleet_server.timeline.hub import EventHub
from protocol.signing import SigningKey
from tests.fleet_server.console.examples import PASSWORD, add_examples, add_people, device_id
from tests.fleet_server.factories import settings
from tests.support.signing import local_signer

TILL = device_id("till_one")
PATIENCE_S = 30.0


@pytest.fixture
def app(engine: Engine, tmp_path: Path) -> FastAPI:
    now = utc_now()
    with transaction(engine) as session:
        add_people(session, now)
        add_examples(session, now)
    signer = local_signer(SigningKey.from_seed(b"c" * 32), SigningKey.from_seed(b"a" * 32))
    made = create_app(settings(tmp_path), engine, None, EventHub(engine), signer)
    made.dependency_overrides[passwords] = Passwords.cheap
    return made


@pytest.fixture
def support(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(
        app, base_url="http://127.0.0.1:1", follow_redirects=False, raise_server_exceptions=False
    ) as client:
        assert client.post("/sign-in", data={"name": "support", "password": PASSWORD}).status_code == 303
        yield client


def form(client: TestClient, **values: str) -> dict[str, str]:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/account").text)
    assert found is not None
    return {"csrf": found[1], **values}


class Other:
    """Writes at the same time: holds what every writer needs last, until the form waits for it, then wants its table.

    On PostgreSQL one of the two must end, and this one says that it would wait for longer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._holds = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._holds.wait(PATIENCE_S)

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _write(self) -> None:
        is_sqlite = self._engine.dialect.name == "sqlite"
        with transaction(self._engine) as session:
            if not is_sqlite:
                session.execute(text("SET LOCAL deadlock_timeout = '20s'"))
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": writer._ORDER_LOCK})
            self._holds.set()
            self._until_the_form_waits(is_sqlite=is_sqlite)
            if not is_sqlite:
                session.execute(text("LOCK TABLE execution IN SHARE MODE"))

    def _until_the_form_waits(self, *, is_sqlite: bool) -> None:
        if is_sqlite:
            # SQLite shows nobody who waits; the form has this long to get there.
            threading.Event().wait(0.3)
            return
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        deadline_s = time.monotonic() + PATIENCE_S
        with self._engine.connect() as watching:
            while not watching.execute(waiting).scalar_one() and time.monotonic() < deadline_s:
                threading.Event().wait(0.02)


def runs(engine: Engine) -> list[Execution]:
    with reading(engine) as session:
        return list(session.exec(select(Execution)).all())


def test_asking_for_a_run_while_another_writes_asks_once(app: FastAPI, support: TestClient, engine: Engine) -> None:
    data = form(support, action="clock.read", key="k-1")
    with Other(engine):
        answer = support.post(f"/devices/{TILL}/runs", data=data)
    assert answer.status_code == 303, answer.text
    assert [answer.headers["location"]] == [f"/runs/{run.id}" for run in runs(engine)]
    assert app.state.conflicts.retried == (0 if engine.dialect.name == "sqlite" else 1)


def test_cancelling_while_another_writes_cancels(app: FastAPI, support: TestClient, engine: Engine) -> None:
    address = support.post(f"/devices/{TILL}/runs", data=form(support, action="clock.read")).headers["location"]
    data = form(support)
    with Other(engine):
        answer = support.post(f"{address}/cancel", data=data)
    assert answer.status_code == 303, answer.text
    assert [run.state for run in runs(engine)] == ["CANCELLED"]
    assert app.state.conflicts.retried == (0 if engine.dialect.name == "sqlite" else 1)
