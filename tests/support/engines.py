"""Databases for tests: each test finds one at the newest revision with nothing in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from fleet_server import migrate
from fleet_server.db import open_engine
from fleet_server.schema import head_revision
from tests.support.postgres import Durability, PostgresServer, binaries, running_postgres

_TEMPLATE = "tillmedic_template"
_REUSED = "tillmedic_reused"
_numbers = count(1)
# How long a database may be silent before it counts as away, where that is not what is tested: a machine that is busy
# with tests stands still for seconds now and then.
PATIENT_S = 60.0


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
def migrated_postgres(durability: Durability = Durability.NONE) -> Iterator[PostgresServer]:
    """Skips where PostgreSQL is not installed; under ``CI=true`` that is a failure."""
    bin_dir = binaries()
    if bin_dir is None:
        reason = "PostgreSQL's server binaries (initdb, postgres) are not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with running_postgres(bin_dir, durability) as server:
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
    """An engine on a database that is emptied between tests: making one takes up to a second on a busy machine."""
    if not server.has(_REUSED):
        server.create(_REUSED, _TEMPLATE)
    engine = open_engine(server.url(_REUSED))
    try:
        yield engine
        _empty(engine)
    except BaseException:
        # Whatever state the test left it in, the next one gets a new one.
        engine.dispose()
        server.drop(_REUSED)
        raise
    finally:
        engine.dispose()


def _empty(engine: Engine) -> None:
    """As it was made: no rows, numbers from 1, the newest revision."""
    engine.dispose()
    with engine.begin() as connection:
        # Replicas fire no triggers, so the order of foreign keys does not matter and the audit can be emptied.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars()
        for table in tables.all():
            connection.execute(text(f'DELETE FROM "{table}"'))  # noqa: S608  # names from the catalogue
        for sequence in connection.execute(text("SELECT sequencename FROM pg_sequences")).scalars().all():
            connection.execute(text(f'ALTER SEQUENCE "{sequence}" RESTART'))
        revision = head_revision()
        connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})
