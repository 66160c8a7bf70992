from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from fleet_server import migrate
from fleet_server.db import open_engine, transaction
from fleet_server.errors import SchemaUnknown
from fleet_server.migrations.tables import metadata
from fleet_server.schema import check_revision, current_revision, head_revision, known_revisions
from tests.support.engines import postgres_url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
    else:
        with postgres_url(request.getfixturevalue("postgres_server"), "template1") as url:
            yield url


def test_models_and_migrations_describe_the_same_tables(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata()) == []


def test_known_revisions_are_the_steps_that_alembic_takes() -> None:
    steps = ScriptDirectory.from_config(migrate.alembic_config()).walk_revisions()
    assert [step.revision for step in steps] == list(reversed(known_revisions()))


def test_every_table_knows_its_tenant() -> None:
    apart = {"tenant", "server_state"}
    assert [t.name for t in metadata().sorted_tables if "tenant_id" not in t.columns and t.name not in apart] == []


def test_upgrading_again_changes_nothing(engine: Engine) -> None:
    assert migrate.upgrade(engine) == (head_revision(), head_revision())
    check_revision(engine)


def test_two_processes_that_upgrade_at_once_make_the_tables_once(empty_url: str) -> None:
    engines = [open_engine(empty_url) for _ in range(2)]
    for engine in engines:
        engine.connect().close()  # a new SQLite file turns to WAL with its first connection
    with ThreadPoolExecutor(2) as pool:
        found = sorted(str(found) for found, _ in pool.map(migrate.upgrade, engines))
    assert found == [head_revision(), "None"]
    for engine in engines:
        engine.dispose()


def test_a_database_is_empty_and_counts_from_one_for_every_test(engine: Engine) -> None:
    for _ in range(2):
        with transaction(engine) as session:
            session.execute(
                text(
                    "INSERT INTO event (tenant_id, device_id, type, at, received_at, actor, data) VALUES "
                    "('default', 'd', 'note', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, '', '{}')"
                )
            )
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM event ORDER BY id")).scalars().all() == [1, 2]


test_a_database_is_empty_and_counts_from_one_for_every_test_again = (
    test_a_database_is_empty_and_counts_from_one_for_every_test
)


def test_a_database_of_a_later_version_is_refused_and_left_alone(engine: Engine) -> None:
    with transaction(engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaUnknown, match="9999"):
        migrate.upgrade(engine)
    with pytest.raises(SchemaUnknown, match="9999"):
        check_revision(engine)
    with engine.connect() as connection:
        assert current_revision(connection) == "9999"


def test_a_database_that_was_never_migrated_is_refused_with_the_command_to_run(empty_url: str) -> None:
    engine = open_engine(empty_url)
    with pytest.raises(SchemaUnknown, match="fleet-server migrate"):
        check_revision(engine)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
