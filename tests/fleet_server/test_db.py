"""What an engine asks of its database for what was committed to be there after a power cut."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session

from fleet_server.db import lax_settings, open_engine
from tests.support.engines import postgres_url
from tests.support.postgres import Durability, PostgresServer, binaries, running_postgres


def waits(engine: Engine) -> str:
    with engine.connect() as connection:
        connection.rollback()
        return str(connection.execute(text("SHOW synchronous_commit")).scalar_one())


@pytest.mark.postgres
def test_a_server_that_is_set_not_to_wait_for_its_disk_is_asked_to(postgres_server: PostgresServer) -> None:
    with postgres_url(postgres_server) as url:
        with psycopg.connect(url.replace("+psycopg", "")) as plain:
            assert plain.execute("SHOW synchronous_commit").fetchone() == ("off",)
        engine = open_engine(url)
        try:
            assert waits(engine) == "on"
            assert waits(engine) == "on", "the same connection, out of the pool"
        finally:
            engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("chosen", ["local", "remote_apply"])
def test_waiting_for_standbys_or_not_is_the_operators_choice(postgres_server: PostgresServer, chosen: str) -> None:
    with postgres_url(postgres_server) as url:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as plain:
            name = plain.info.dbname
            plain.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = {chosen}'.encode())
        engine = open_engine(url)
        try:
            assert waits(engine) == chosen
        finally:
            engine.dispose()


def test_sqlite_waits_for_its_disk(sqlite_engine: Engine) -> None:
    with sqlite_engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    with Session(sqlite_engine) as session:
        assert lax_settings(session) == []


@pytest.mark.postgres
def test_settings_by_which_a_power_cut_loses_what_was_committed_are_named(postgres_server: PostgresServer) -> None:
    with postgres_url(postgres_server) as url:
        engine = open_engine(url)
        try:
            with Session(engine) as session:
                assert lax_settings(session) == ["fsync", "full_page_writes"]
        finally:
            engine.dispose()


@pytest.mark.postgres
def test_a_server_as_it_is_installed_is_not_complained_of() -> None:
    bin_dir = binaries()
    if bin_dir is None:
        pytest.skip("PostgreSQL's server binaries are not installed")
    with running_postgres(bin_dir, Durability.DISK) as server:
        engine = open_engine(server.url("postgres"))
        try:
            assert waits(engine) == "on"
            with Session(engine) as session:
                assert lax_settings(session) == []
        finally:
            engine.dispose()
