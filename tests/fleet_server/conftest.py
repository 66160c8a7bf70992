"""``engine``: an empty, migrated database of the test's own, once on SQLite and once on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.engines import migrated_postgres, migrated_sqlite, postgres_engine, sqlite_engine
from tests.support.postgres import PostgresServer
from tests.support.tenant_watch import Watch, watched


@pytest.fixture(scope="session", autouse=True)
def _tenant_watch() -> Iterator[Watch]:
    with watched() as watch:
        yield watch


@pytest.fixture(autouse=True)
def _no_tenant_forgotten(_tenant_watch: Watch) -> Iterator[None]:
    """Whatever a test does for a caller, each of its statements names the caller's tenant."""
    _tenant_watch.forgotten.clear()
    yield
    assert not _tenant_watch.forgotten


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_sqlite(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with migrated_postgres() as server:
        yield server


@pytest.fixture(name="sqlite_engine")
def _sqlite_engine(sqlite_template: Path, tmp_path: Path) -> Iterator[Engine]:
    """For tests whose subject does not touch SQL itself."""
    with sqlite_engine(sqlite_template, tmp_path) as engine:
        yield engine


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        with sqlite_engine(request.getfixturevalue("sqlite_template"), tmp_path) as opened:
            yield opened
    else:
        with postgres_engine(request.getfixturevalue("postgres_server")) as opened:
            yield opened
