"""The API process while its PostgreSQL is killed, silent, or away beside a standby: real servers, real connections."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.testclient import TestClient

from fleet_server.app import create_app
from fleet_server.auth.dependencies import passwords
from fleet_server.auth.passwords import Passwords
from fleet_server.databases import SILENT_S, Databases
from fleet_server.db import open_engine, transaction
from fleet_server.kit.times import utc_now
from fleet_server.probe import Probe
from fleet_server.timeline.hub import EventHub
from protocol.signing import SigningKey
from tests.fleet_server.api import add_callers, bearer
from tests.fleet_server.console.examples import PASSWORD, add_examples, add_people, device_id
from tests.fleet_server.factories import settings
from tests.support.engines import migrated_postgres, postgres_url
from tests.support.postgres import Durability, PostgresServer, binaries
from tests.support.signing import local_signer
from tests.support.standby import running_standby, wait_until_followed

pytestmark = pytest.mark.postgres
TILL = device_id("till_one")
DEADLINE_S = 30.0


@dataclass
class Desk:
    app: FastAPI
    client: TestClient
    primary: PostgresServer

    def page(self, path: str = "/") -> tuple[int, str]:
        answer = self.client.get(path, headers={"accept": "text/html", "accept-language": "en"})
        return answer.status_code, answer.text

    def until(self, holds: Callable[[], bool], what: str) -> None:
        give_up_at = time.monotonic() + DEADLINE_S
        while not holds():
            assert time.monotonic() < give_up_at, what
            time.sleep(0.1)

    def form(self, **values: str) -> dict[str, str]:
        found = re.search(r'name="csrf" value="([^"]+)"', self.page(f"/devices/{TILL}")[1])
        assert found is not None
        return {"csrf": found[1], "action": "net.path", **values}


@pytest.fixture(scope="module", name="primary")
def _primary() -> Iterator[PostgresServer]:
    with migrated_postgres(Durability.WHEN_KILLED) as server:
        yield server


@contextmanager
def desk_on(primary: PostgresServer, url: str, folder: Path, standby: Engine | None = None) -> Iterator[Desk]:
    engine = open_engine(url)
    databases = Databases(engine, standby)
    signer = local_signer(SigningKey.from_seed(b"c" * 32), SigningKey.from_seed(b"a" * 32))
    app = create_app(settings(folder), engine, None, EventHub(databases.engine), signer, databases=databases)
    app.dependency_overrides[passwords] = Passwords.cheap
    with TestClient(
        app, base_url="http://127.0.0.1:1", follow_redirects=False, raise_server_exceptions=False
    ) as client:
        assert client.post("/sign-in", data={"name": "support", "password": PASSWORD}).status_code == 303
        yield Desk(app, client, primary)
    engine.dispose()


def fill(url: str) -> None:
    engine = open_engine(url)
    with transaction(engine) as session:
        add_people(session, utc_now())
        add_examples(session, utc_now())
    add_callers(engine)
    engine.dispose()


@pytest.fixture
def alone(primary: PostgresServer, tmp_path: Path) -> Iterator[Desk]:
    with postgres_url(primary) as url:
        fill(url)
        with desk_on(primary, url, tmp_path) as desk:
            yield desk
            primary.start() if not is_up(primary) else None


@pytest.fixture
def followed(primary: PostgresServer, tmp_path: Path) -> Iterator[Desk]:
    bin_dir = binaries()
    assert bin_dir is not None
    with postgres_url(primary) as url:
        fill(url)
        with running_standby(bin_dir, primary) as standby:
            reader = open_engine(url.replace(str(primary.socket_dir), str(standby.socket_dir)))
            with desk_on(primary, url, tmp_path, reader) as desk:
                wait_until_followed(primary, standby)
                yield desk
                primary.start() if not is_up(primary) else None
            reader.dispose()


def is_up(server: PostgresServer) -> bool:
    process = server._process
    return process is not None and process.poll() is None


def test_without_a_standby_pages_say_so_at_once_and_open_again_by_themselves(alone: Desk) -> None:
    values = alone.form(**{"p.count": "7", "override_reason": "the merchant waits"})
    assert alone.page()[0] == 200
    alone.primary.kill()
    for path in ("/", f"/devices/{TILL}", "/runs", "/audit", "/search?q=till", f"/devices/{TILL}/actions/net.path"):
        began = time.monotonic()
        status, html = alone.page(path)
        assert (status, "The database cannot be reached just now" in html) == (503, True), path
        assert time.monotonic() - began < 1.0
    assert re.search(r"Since <time[^>]*>", html)
    assert "What still works" in html
    sent = alone.client.post(f"/devices/{TILL}/runs", data=values)
    assert (sent.status_code, sent.headers["Retry-After"]) == (503, "2")
    assert 'name="override_reason" value="the merchant waits"' in sent.text
    assert 'name="p.count" value="7"' in sent.text
    refused = alone.client.post("/sign-in", data={"name": "support", "password": "hunter2-secret"})
    assert refused.status_code == 503
    assert "hunter2-secret" not in refused.text
    alone.primary.start()
    alone.until(lambda: alone.page()[0] == 200, "the page to be back")
    assert alone.client.post(f"/devices/{TILL}/runs", data=values).status_code in {303, 422}


def test_programs_are_told_to_come_again_and_health_endpoints_say_why(alone: Desk) -> None:
    alone.primary.kill()
    asked = {"device": TILL, "action": "net.path"}
    for answer in (
        alone.client.get("/api/v1/devices", headers=bearer("support")),
        alone.client.post("/api/v1/executions", json=asked, headers=bearer("support")),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "database_away")
        assert answer.headers["Retry-After"] == "2"
    ready = alone.client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "not reachable")
    assert ready.json()["database"]["state"] == "away"
    assert ready.json()["database"]["reads"] == "none"
    assert alone.client.get("/healthz").json() == {"status": "ok"}
    metrics = alone.client.get("/metrics")
    assert metrics.status_code == 200
    assert 'tillmedic_database{state="away"} 1.0' in metrics.text
    alone.primary.start()
    alone.until(lambda: alone.client.get("/metrics").text.count('tillmedic_database{state="up"} 1.0') == 1, "it is up")


def test_with_a_standby_everything_can_be_read_and_nothing_written(followed: Desk) -> None:
    values = followed.form(action="clock.read")
    assert 'id="standing"' not in followed.page()[1]
    followed.primary.kill()
    # What is read here must be written down, which a standby cannot.
    assert followed.page("/audit")[0] == 503
    for path in ("/", f"/devices/{TILL}", "/runs", f"/devices/{TILL}/actions/net.path"):
        status, html = followed.page(path)
        assert (status, 'id="standing"' in html) == (200, True), path
    assert "what you see is from its copy" in html
    listed = followed.client.get("/api/v1/devices", headers=bearer("support"))
    assert listed.status_code == 200
    sent = followed.client.post(f"/devices/{TILL}/runs", data=values)
    assert (sent.status_code, sent.headers["Retry-After"]) == (503, "2")
    assert "没有做任何更改" in sent.text
    followed.until(lambda: followed.client.get("/readyz").json()["database"]["as_of"] is not None, "as of when")
    assert followed.client.get("/readyz").json()["database"]["reads"] == "standby"
    followed.primary.start()
    followed.until(lambda: 'id="standing"' not in followed.page()[1], "the notice to go")
    assert followed.client.post(f"/devices/{TILL}/runs", data=values).status_code == 303


def test_a_silent_database_keeps_nobody_waiting_for_long(alone: Desk) -> None:
    assert alone.page()[0] == 200
    everybody = [psutil.Process(alone.primary._process.pid)] if alone.primary._process else []
    everybody += everybody[0].children(recursive=True)
    for process in everybody:
        process.suspend()
    try:
        began = time.monotonic()
        assert alone.page()[0] == 503
        assert time.monotonic() - began < SILENT_S + 5.0
        began = time.monotonic()
        assert alone.page()[0] == 503
        assert time.monotonic() - began < 1.0
    finally:
        for process in everybody:
            os.kill(process.pid, signal.SIGCONT)
    alone.until(lambda: alone.page()[0] == 200, "the page to be back")


def test_who_stops_waits_for_the_look_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is closed under a question of SQLite's takes the process with it."""
    order: list[str] = []
    asked, may_answer = threading.Event(), threading.Event()

    def answers(_probe: Probe) -> bool:
        asked.set()
        may_answer.wait(DEADLINE_S)
        order.append("answered")
        return True

    def cut(_probe: Probe) -> None:
        order.append("cut")
        may_answer.set()

    monkeypatch.setattr(Probe, "answers", answers)
    monkeypatch.setattr(Probe, "close", lambda _probe: order.append("closed"))
    monkeypatch.setattr(Probe, "cut", cut)
    databases = Databases(open_engine(f"sqlite:///{tmp_path / 'fleet.db'}"), None)

    async def started_and_stopped() -> None:
        databases.start()
        await asyncio.to_thread(asked.wait, DEADLINE_S)
        await databases.stop()

    asyncio.run(started_and_stopped())
    assert order == ["cut", "answered", "closed"]
