"""PostgreSQL killed under the running server: nothing that was acknowledged is lost, and all of it comes back alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx2
import pytest
from sqlmodel import select

from fleet_server.db import reading
from fleet_server.ingest.models import StoredRecord
from protocol.records import Outcome, Verdict
from protocol.streams import StreamKind
from tests.fleet_server.api import bearer
from tests.integration.server.conftest import Server, running_server
from tests.integration.server.event_stream import followed
from tests.support.broker import Broker
from tests.support.engines import migrated_postgres, postgres_url
from tests.support.postgres import Durability, PostgresServer
from tests.support.wire_agent import WireAgent, until

pytestmark = [pytest.mark.integration, pytest.mark.postgres]


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with migrated_postgres(Durability.WHEN_KILLED) as running:
        yield running


@pytest.fixture
def server(broker: Broker, tmp_path: Path, postgres: PostgresServer) -> Iterator[Server]:
    with postgres_url(postgres) as url, running_server(broker, tmp_path, url) as running:
        yield running


def verdict(number: int) -> Verdict:
    return Verdict("line.statistics", Outcome.PASS, item=f"n{number}", value=number, unit="frames")


class Talker:
    """Sends a batch each 20 ms until it is told to stop."""

    def __init__(self, agent: WireAgent) -> None:
        self._agent = agent
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _talk(self) -> None:
        while not self._stop.wait(0.02):
            self.sent = self._agent.send(verdict(self.sent + 1))


def stored(server: Server) -> list[int]:
    with reading(server.engine) as session:
        statement = select(StoredRecord.seq).where(StoredRecord.link_id == server.fleet.gateway)
        return sorted(session.exec(statement))


def readiness(http: httpx2.Client) -> tuple[int, str]:
    answer = http.get("/readyz")
    return answer.status_code, answer.json()["checks"]["database"]


def test_a_killed_database_loses_nothing_and_is_found_again(
    postgres: PostgresServer, server: Server, agent: WireAgent
) -> None:
    devices = f"/api/v1/devices/{server.fleet.terminal}"
    agent.connect()
    agent.greet()
    with (
        httpx2.Client(base_url=server.url, headers=bearer("support"), timeout=20) as http,
        followed(server.url, "/api/v1/events", bearer("support")) as stream,
        Talker(agent) as talker,
    ):
        until(lambda: agent.acked() > 20, "the first acknowledgements")
        postgres.kill()
        acknowledged = agent.acked()
        assert readiness(http) == (503, "not reachable")
        refused = http.get(devices)
        assert (refused.status_code, refused.json()["code"]) == (503, "database_away")
        until(lambda: server.worker.counters["retries"] > 0, "ingest to notice")
        postgres.start()
        until(lambda: readiness(http) == (200, "ok"), "the server to be ready again")
        assert set(range(1, acknowledged + 1)) <= set(stored(server))
        # A connection that broke before may be found out only now: the API then asks the database once more.
        until(lambda: http.get(devices).status_code == 200, "the device to be read again")
        after = talker.sent
        stream.await_first(lambda one: one["type"] == "verdict" and one["data"]["value"] > after, "later verdicts")
    until(lambda: agent.acked(StreamKind.URGENT) == talker.sent, "all to be acknowledged")
    assert stored(server) == list(range(1, talker.sent + 1))
    assert server.worker.counters["lost"] == server.worker.counters["parked"] == 0
