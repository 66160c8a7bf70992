"""The epoch of the database: kept while its history goes on, renewed once when another server took over."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session

from fleet_server.db import open_engine, reading, transaction
from fleet_server.ingest.installation import COUNTER_STEP, EVENT_STEP, NotPrimary, db_epoch
from tests.support.engines import migrated_postgres, postgres_engine
from tests.support.fleet_rows import make_fleet
from tests.support.postgres import Durability, PostgresServer, binaries
from tests.support.standby import promote, running_standby, wait_until_followed

_ELSEWHERE = (
    """UPDATE server_state SET value = jsonb_set(value::jsonb, '{history}', '"1/00000001"') WHERE name = 'db_epoch'"""
)
_FORGET = "UPDATE server_state SET value = (value::jsonb - 'history')::json WHERE name = 'db_epoch'"

_NEVER_MADE = "DELETE FROM server_state WHERE name = 'db_epoch'"


def ask(engine: Engine) -> str:
    with transaction(engine) as session:
        return db_epoch(session)


def counters(engine: Engine) -> set[int]:
    with reading(engine) as session:
        return set(session.execute(text("SELECT command_counter FROM device")).scalars())


def change(engine: Engine, statement: str) -> None:
    with transaction(engine) as session:
        session.execute(text(statement))
    # As after a failover: no connection is left that has been asked.
    engine.dispose()


def test_the_epoch_stays_and_so_do_the_numbers(engine: Engine) -> None:
    make_fleet(engine)
    first = ask(engine)
    engine.dispose()
    assert ask(engine) == first == ask(engine)
    assert counters(engine) == {0}


@pytest.fixture(params=[pytest.param("postgresql", marks=pytest.mark.postgres)])
def on_postgres(postgres_server: PostgresServer) -> Iterator[Engine]:
    with postgres_engine(postgres_server) as engine:
        make_fleet(engine)
        ask(engine)
        yield engine


def test_another_history_renews_the_epoch_and_skips_numbers_that_may_have_been_told(on_postgres: Engine) -> None:
    first = ask(on_postgres)
    change(on_postgres, _ELSEWHERE)
    second = ask(on_postgres)
    assert second != first
    assert ask(on_postgres) == second
    assert counters(on_postgres) == {COUNTER_STEP}
    with transaction(on_postgres) as session:
        number = session.execute(text("SELECT nextval(pg_get_serial_sequence('event', 'id'))")).scalar_one()
    assert number == EVENT_STEP + 1


def test_a_database_that_never_noted_its_history_does_so_without_a_new_epoch(on_postgres: Engine) -> None:
    first = ask(on_postgres)
    change(on_postgres, _FORGET)
    assert ask(on_postgres) == first
    change(on_postgres, _ELSEWHERE)
    assert ask(on_postgres) != first


@pytest.mark.parametrize(("before", "steps"), [(_ELSEWHERE, COUNTER_STEP), (_NEVER_MADE, 0)])
def test_an_epoch_whose_transaction_was_rolled_back_is_never_heard_of_again(
    on_postgres: Engine, before: str, steps: int
) -> None:
    change(on_postgres, before)
    with Session(on_postgres) as session:
        undone = db_epoch(session)
        session.rollback()
    kept = ask(on_postgres)
    assert kept != undone
    assert ask(on_postgres) == kept
    assert counters(on_postgres) == {steps}


def test_workers_that_notice_together_agree_on_one_epoch(on_postgres: Engine) -> None:
    change(on_postgres, _ELSEWHERE)
    together = Barrier(4)

    def notice(_number: int) -> str:
        with on_postgres.connect():
            together.wait(20)
        return ask(on_postgres)

    with ThreadPoolExecutor(4) as pool:
        epochs = set(pool.map(notice, range(4)))
    assert len(epochs) == 1
    assert counters(on_postgres) == {COUNTER_STEP}


@pytest.mark.postgres
def test_a_role_without_rights_sees_a_promotion_at_once_and_a_standby_is_refused() -> None:
    with (
        migrated_postgres(Durability.WHEN_KILLED) as primary,
        running_standby(binaries() or pytest.fail("no PostgreSQL"), primary) as standby,
    ):
        owner = open_engine(primary.url("tillmedic_template"))
        with transaction(owner) as session:
            session.execute(text("CREATE ROLE plain LOGIN"))
            session.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO plain"))
            session.execute(text("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO plain"))
            # Row security asks them, whoever reads.
            session.execute(text("GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO plain"))
        before = ask(owner)
        owner.dispose()
        wait_until_followed(primary, standby)
        primary.kill()
        plain = open_engine(standby.url("tillmedic_template").replace("tillmedic@", "plain@"))
        with pytest.raises(NotPrimary), transaction(plain) as session:
            db_epoch(session)
        promote(standby)
        # The same connection, which has lived through the promotion, and long before the next checkpoint.
        after = ask(plain)
        assert after != before
        assert ask(plain) == after
        plain.dispose()
