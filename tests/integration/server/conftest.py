"""The server's three parts on a real broker and database: API over HTTP, ingest, and an agent that is only the wire."""

from __future__ import annotations

import base64
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
import uvicorn
from sqlalchemy import Engine

from fleet_server.app import create_app
from fleet_server.databases import Databases
from fleet_server.db import open_engine, transaction
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.http_server import StreamingServer
from fleet_server.ingest.worker import Worker
from fleet_server.issuer.client import IssuerClient
from fleet_server.live.hub import LiveHub
from fleet_server.live.link import api_link
from fleet_server.settings import ServerSettings
from fleet_server.signer.service import Signs
from fleet_server.timeline.hub import EventHub
from protocol.commands import Command
from protocol.executions import ExecutionState
from protocol.records import ExecutionReport, Outcome, Verdict
from protocol.signing import Envelope
from tests.fleet_server.api import add_callers
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY
from tests.fleet_server.factories import Fleet, add_fleet
from tests.support.broker import Broker, running_broker
from tests.support.engines import PATIENT_S, migrated_postgres, migrated_sqlite, postgres_url
from tests.support.ingest_worker import running_ingest, settings_for, worker_on
from tests.support.postgres import PostgresServer
from tests.support.signing import local_signer
from tests.support.wire_agent import WireAgent, until


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    engine: Engine
    fleet: Fleet
    settings: ServerSettings
    worker: Worker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    with migrated_postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{migrated_sqlite(tmp_path)}"
    else:
        with postgres_url(request.getfixturevalue("postgres_server")) as url:
            yield url


@pytest.fixture
def server(broker: Broker, tmp_path: Path, database_url: str) -> Iterator[Server]:
    with running_server(broker, tmp_path, database_url) as running:
        yield running


@contextmanager
def running_server(broker: Broker, folder: Path, database_url: str) -> Iterator[Server]:
    engine = open_engine(database_url)
    with transaction(engine) as session:
        fleet = add_fleet(session, presence="unknown")
    add_callers(engine)
    settings = replace(settings_for(broker, folder), url="http://127.0.0.1")
    signer = local_signer(COMMAND_KEY, APPROVER_KEY)
    worker = worker_on(engine, settings, Dispatcher(signer))
    # Of its own, as the API is a process of its own: what it refuses while the database is away is its affair alone.
    of_api = open_engine(database_url)
    with running_ingest(worker), running_http(settings, of_api, signer) as url:
        yield Server(url, engine, fleet, settings, worker)
    of_api.dispose()
    engine.dispose()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """An agent's control socket stands in it, and a socket's path may have a hundred bytes."""
    with TemporaryDirectory(prefix="tm-") as folder:
        yield Path(folder)


@contextmanager
def running_http(
    settings: ServerSettings, engine: Engine, signer: Signs, issuer: IssuerClient | None = None
) -> Iterator[str]:
    hub, live = EventHub(engine), LiveHub()
    link = api_link(settings, "svc-api-1", hub, live)
    databases = Databases(engine, silent_s=PATIENT_S)
    config = uvicorn.Config(
        create_app(settings, engine, link, hub, signer, live, databases, issuer),
        log_level="warning",
        timeout_graceful_shutdown=10,
    )
    http = StreamingServer(config, hub, live)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=http.run, kwargs={"sockets": [listening]})
    thread.start()
    until(lambda: http.started and link.is_connected, "the API to be up")
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        http.handle_exit(signal.SIGTERM, None)
        thread.join()
        listening.close()


@pytest.fixture
def agent(broker: Broker, server: Server) -> Iterator[WireAgent]:
    """The gateway's link, not yet connected; answers every command at once with a pass."""
    agent = WireAgent(broker, server.fleet.gateway, attached=(server.fleet.terminal,))
    agent.on_command = lambda payload: answer(agent, command_in(payload))
    yield agent
    agent.close()


def command_in(payload: bytes) -> Command:
    envelope = msgspec.json.decode(payload, type=Envelope)
    return msgspec.json.decode(base64.b64decode(envelope.payload), type=Command)


def answer(agent: WireAgent, command: Command) -> None:
    agent.send(
        ExecutionReport(command.execution, ExecutionState.RUNNING),
        Verdict(command.action, Outcome.PASS, execution=command.execution, value=1, unit="ms"),
        ExecutionReport(command.execution, ExecutionState.SUCCEEDED, outcome=Outcome.PASS),
        device=command.audience,
    )
