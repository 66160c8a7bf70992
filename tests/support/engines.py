"""Databases for tests: each test its own, copied from a template that the migrations made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fleet_server import migrate
from fleet_server.db import open_engine
from tests.support.postgres import PostgresServer, binaries, running_postgres

_TEMPLATE = "tillmedic_template"
_numbers = count(1)


def migrated_sqlite(folder: Path) -> Path:
    """A template file at the newest revision, to be copied."""
    path = folder / "template.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate.upgrade(engine)
    # Closing the last connection folds the WAL into the file.
    engine.dispose()
    return path


@contextmanager
def sqlite_engine(template: Path, folder: Path) -> Iterator[Engine]:
    path = folder / f"fleet{next(_numbers)}.db"
    shutil.copyfile(template, path)
    engine = open_engine(f"sqlite:///{path}")
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def migrated_postgres() -> Iterator[PostgresServer]:
    """Skips where PostgreSQL is not installed; under ``CI=true`` that is a failure."""
    bin_dir = binaries()
    if bin_dir is None:
        reason = "PostgreSQL's server binaries (initdb, postgres) are not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with running_postgres(bin_dir) as server:
        server.create(_TEMPLATE)
        engine = open_engine(server.url(_TEMPLATE))
        migrate.upgrade(engine)
        engine.dispose()
        yield server


@contextmanager
def postgres_url(server: PostgresServer, template: str = _TEMPLATE) -> Iterator[str]:
    """The URL of a database of its own at the newest revision (``template1``: of an empty one)."""
    name = f"fleet{next(_numbers)}"
    server.create(name, template)
    try:
        yield server.url(name)
    finally:
        server.drop(name)


@contextmanager
def postgres_engine(server: PostgresServer) -> Iterator[Engine]:
    with postgres_url(server) as url:
        engine = open_engine(url)
        try:
            yield engine
        finally:
            engine.dispose()
