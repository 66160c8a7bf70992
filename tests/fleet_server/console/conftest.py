"""The console alone, on a seeded SQLite database and without a broker; browsers of people in each role."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.testclient import TestClient

from fleet_server import migrate
from fleet_server.app import create_app
from fleet_server.auth.dependencies import passwords
from fleet_server.auth.passwords import Passwords
from fleet_server.databases import Databases
from fleet_server.db import open_engine, transaction
from fleet_server.kit.times import utc_now
from fleet_server.timeline.hub import EventHub
from protocol.signing import SigningKey
from tests.fleet_server.console.examples import PASSWORD, add_examples, add_people
from tests.fleet_server.console.history import add_history
from tests.fleet_server.factories import settings
from tests.support.engines import PATIENT_S
from tests.support.signing import local_signer

Browser = Callable[..., TestClient]


@pytest.fixture(scope="session", name="seeded_database")
def _seeded_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Filled once; each test works on a copy of its own."""
    path = tmp_path_factory.mktemp("console") / "seeded.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate.upgrade(engine)
    now = utc_now()
    with transaction(engine) as session:
        add_people(session, now)
        add_examples(session, now)
        add_history(session, now)
    # Closing the last connection folds the WAL into the file.
    engine.dispose()
    return path


@pytest.fixture(name="console_engine")
def _console_engine(seeded_database: Path, tmp_path: Path) -> Iterator[Engine]:
    path = tmp_path / "console.db"
    shutil.copyfile(seeded_database, path)
    engine = open_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture
def console_app(console_engine: Engine, tmp_path: Path) -> FastAPI:
    signer = local_signer(SigningKey.from_seed(b"c" * 32), SigningKey.from_seed(b"a" * 32))
    databases = Databases(console_engine, silent_s=PATIENT_S)
    app = create_app(settings(tmp_path), console_engine, None, EventHub(console_engine), signer, databases=databases)
    app.dependency_overrides[passwords] = Passwords.cheap
    return app


@pytest.fixture
def browser(console_app: FastAPI) -> Iterator[Browser]:
    """``browser("support", language="en")``: signed in; without a role: not signed in."""
    opened: list[TestClient] = []

    def open_browser(role: str = "", *, language: str = "zh-CN", raises: bool = True) -> TestClient:
        client = TestClient(
            console_app,
            base_url="http://127.0.0.1:1",
            headers={"Accept-Language": language},
            follow_redirects=False,
            raise_server_exceptions=raises,
        )
        opened.append(client)
        if role:
            answer = client.post("/sign-in", data={"name": role, "password": PASSWORD})
            assert answer.status_code == 303
        return client

    yield open_browser
    for client in opened:
        client.close()
