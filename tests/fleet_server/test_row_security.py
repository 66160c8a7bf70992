"""What PostgreSQL itself holds back, whatever a query forgets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from sqlmodel import SQLModel

from fleet_server import migrate
from fleet_server.db import TENANT_ROLE, open_engine, reading, transaction
from fleet_server.kit.reach import Reach
from fleet_server.row_security import TenantRoleNotMade, secure
from tests.fleet_server.factories import TENANT, add_fleet
from tests.fleet_server.waiting_rows import new_assignment, new_freeze
from tests.support.engines import postgres_engine, postgres_url
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.postgres
OTHER = "other"


@pytest.fixture(autouse=True)
def _no_tenant_forgotten() -> None:
    """Here queries forget on purpose."""


@pytest.fixture(name="fleets")
def _fleets(postgres_server: PostgresServer) -> Iterator[Engine]:
    """Two devices of each of two tenants."""
    with postgres_engine(postgres_server) as engine:
        with transaction(engine) as session:
            add_fleet(session)
            add_fleet(session, "two", tenant=OTHER)
        yield engine


def count(engine: Engine, statement: str, tenant: str | Reach | None) -> int:
    with reading(engine, tenant) as session:
        return int(session.execute(text(statement)).scalar_one())


def test_a_query_that_forgets_its_tenant_finds_that_tenants_rows_only(fleets: Engine) -> None:
    everything = "SELECT count(*) FROM device"
    assert [count(fleets, everything, who) for who in (TENANT, OTHER, "nobody", "", None)] == [2, 2, 0, 0, 4]


def test_a_join_a_sub_query_and_a_lock_are_held_as_well(fleets: Engine) -> None:
    joined = "SELECT count(*) FROM device d JOIN site s ON true WHERE EXISTS (SELECT FROM capability c WHERE true)"
    assert count(fleets, joined, TENANT) == 2
    with transaction(fleets, TENANT) as session:
        locked = session.execute(text("SELECT id FROM device ORDER BY id FOR UPDATE")).scalars().all()
    assert locked == ["d-one-gateway", "d-one-terminal"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE device SET label_en = 'mine' WHERE id = 'd-two-terminal'",
        "DELETE FROM capability WHERE device_id = 'd-two-terminal'",
    ],
)
def test_rows_of_another_tenant_are_neither_changed_nor_removed(fleets: Engine, statement: str) -> None:
    with transaction(fleets, TENANT) as session:
        assert session.execute(text(statement)).rowcount == 0  # type: ignore[attr-defined]  # a result of DML has it


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE device SET tenant_id = 'other' WHERE id = 'd-one-terminal'",
        "INSERT INTO fleet_key (tenant_id, kind, key, row_id) VALUES ('other', 'device', 'x', 'y')",
        "TRUNCATE device",
        "UPDATE audit_entry SET action = 'nothing'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "DROP TABLE audit_entry",
        "DROP TRIGGER audit_entry_append ON audit_entry",
        "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
        "UPDATE audit_head SET seq = 1",
        "DELETE FROM audit_head",
        "DELETE FROM audit_anchor",
        "UPDATE audit_aside SET salt = ''",
        "SELECT audit_forget('default', 5, 5)",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION audit_append() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
        "UPDATE tenant SET name = 'mine'",
        "DROP POLICY of_tenant ON device",
        "ALTER TABLE device DISABLE ROW LEVEL SECURITY",
        "SELECT * FROM alembic_version",
    ],
)
def test_what_would_reach_beyond_the_tenant_is_refused(fleets: Engine, statement: str) -> None:
    refusal = r"row-level security|permission denied|must be owner"
    with pytest.raises(ProgrammingError, match=refusal), transaction(fleets, TENANT) as session:
        session.execute(text(statement))


def test_whoever_works_by_assignments_finds_only_what_is_assigned_whatever_a_query_forgets(fleets: Engine) -> None:
    with transaction(fleets) as session:
        add_fleet(session, "own")
    new_assignment(fleets, TENANT, "d-own-terminal", assignee="p-lin")
    for begins, ends in ((-2, -1), (1, 2)):
        span = {"begins": timedelta(hours=begins), "ends": timedelta(hours=ends)}
        new_assignment(fleets, TENANT, None, site_id="s-one-0001", assignee="p-lin", **span)
    new_assignment(fleets, OTHER, "d-one-terminal", assignee="p-lin")
    new_assignment(fleets, TENANT, "d-one-terminal", assignee="p-wang")
    lin = Reach(TENANT, "p-lin")
    counted = (
        "SELECT (SELECT count(*) FROM device), (SELECT count(*) FROM capability), (SELECT count(*) FROM site), "
        "(SELECT count(*) FROM assignment)"
    )
    with reading(fleets, lin) as session:
        assert session.execute(text(counted)).one() == (2, 2, 1, 3)
    assert count(fleets, "SELECT count(*) FROM device WHERE id LIKE 'd-own-%'", lin) == 2
    assert count(fleets, "SELECT count(*) FROM device", Reach(TENANT, "p-nobody")) == 0
    assert count(fleets, "SELECT count(*) FROM device", Reach(TENANT)) == 4
    moved = text("UPDATE capability SET device_id = 'd-one-terminal' WHERE device_id = 'd-own-terminal'")
    with pytest.raises(ProgrammingError, match="row-level security"), transaction(fleets, lin) as session:
        session.execute(moved)


def test_what_is_declared_for_all_tenants_is_read_by_each_and_changed_by_its_own_only(fleets: Engine) -> None:
    new_freeze(fleets, TENANT, of_all=True)
    new_freeze(fleets, TENANT)
    seen = "SELECT count(*) FROM change_freeze"
    assert (count(fleets, seen, TENANT), count(fleets, seen, OTHER)) == (2, 1)
    with transaction(fleets, OTHER) as session:
        assert session.execute(text("UPDATE change_freeze SET reason = 'gone'")).rowcount == 0  # type: ignore[attr-defined]  # an UPDATE has it
        assert session.execute(text("DELETE FROM change_freeze")).rowcount == 0  # type: ignore[attr-defined]  # as above
    assert count(fleets, f"{seen} WHERE reason <> 'gone'", TENANT) == 2


def test_every_table_that_names_a_device_is_narrowed_for_whoever_works_by_assignments(fleets: Engine) -> None:
    named = {name for name, table in SQLModel.metadata.tables.items() if "device_id" in table.c}
    with reading(fleets) as session:
        rows = session.execute(
            text(
                "SELECT c.relname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid "
                "WHERE p.polname = 'of_assignee' AND NOT p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}'"
            )
        )
        found = set(rows.scalars())
    assert found == named | {"device", "site"}


def test_the_next_transaction_of_the_same_connection_starts_anew(fleets: Engine) -> None:
    fleets.dispose()
    for who, seen in ((TENANT, 2), (None, 4), (OTHER, 2)):
        assert count(fleets, "SELECT count(*) FROM device", who) == seen
    assert fleets.pool.checkedin() == 1  # type: ignore[attr-defined]  # a queue of connections has it


def test_a_tenant_that_is_not_known_yet_is_a_mistake_and_not_everybody(fleets: Engine) -> None:
    def nobody() -> Reach:
        raise LookupError("no caller yet")

    with pytest.raises(LookupError), reading(fleets, nobody) as session:
        session.execute(text("SELECT count(*) FROM device"))


def test_every_table_with_a_tenant_has_its_policy(fleets: Engine) -> None:
    wanted = {name for name, table in SQLModel.metadata.tables.items() if "tenant_id" in table.c} | {"tenant"}
    with reading(fleets) as session:
        rows = session.execute(
            text(
                "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity FROM pg_class c JOIN pg_policy p "
                "ON p.polrelid = c.oid WHERE p.polname = 'of_tenant' AND p.polcmd = '*' AND p.polroles = '{0}'"
            )
        )
        found = {row[0]: row[1] for row in rows}
    assert found == dict.fromkeys(wanted, True)


def test_the_role_of_tenants_can_neither_sign_in_nor_pass_by(fleets: Engine) -> None:
    with reading(fleets) as session:
        statement = (
            "SELECT rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = :name"
        )
        assert session.execute(text(statement), {"name": TENANT_ROLE}).scalar_one() is False
        owned = "SELECT count(*) FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = :name)"
        assert session.execute(text(owned), {"name": TENANT_ROLE}).scalar_one() == 0


def test_a_table_of_a_later_version_is_secured_by_the_next_migration(fleets: Engine) -> None:
    with fleets.begin() as connection:
        connection.execute(text("CREATE TABLE later (id int, tenant_id text)"))
        connection.execute(text("INSERT INTO later VALUES (1, 'default'), (2, 'other')"))
        secure(connection)
    assert [count(fleets, "SELECT count(*) FROM later", who) for who in (TENANT, None)] == [1, 2]
    with fleets.begin() as connection:
        connection.execute(text("DROP TABLE later"))


class _Plain:
    """A role that owns its database and is nothing else, as an operator makes it for an installation."""

    def __init__(self, admin: Engine, url: str, name: str, *, is_member: bool) -> None:
        database = make_url(url).database
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE ROLE {name} LOGIN"))
            connection.execute(text(f"ALTER DATABASE {database} OWNER TO {name}"))
            if is_member:
                connection.execute(text(f"GRANT {TENANT_ROLE} TO {name}"))
        own = create_engine(url)
        with own.begin() as connection:
            connection.execute(text(f"ALTER SCHEMA public OWNER TO {name}"))
        own.dispose()
        self.url = url.replace("//tillmedic@", f"//{name}@")


def test_an_installation_whose_role_owns_its_tables_and_no_more(
    postgres_server: PostgresServer, fleets: Engine
) -> None:
    with postgres_url(postgres_server, "template1") as url:
        plain = _Plain(fleets, url, "plain_member", is_member=True)
        engine = open_engine(plain.url)
        migrate.upgrade(engine)
        with transaction(engine) as session:
            add_fleet(session)
            add_fleet(session, "two", tenant=OTHER)
        seen = [count(engine, "SELECT count(*) FROM device", who) for who in (TENANT, None)]
        engine.dispose()
    assert seen == [2, 4]


def test_a_role_that_may_not_make_the_role_of_tenants_is_told_what_to_do(
    postgres_server: PostgresServer, fleets: Engine
) -> None:
    with postgres_url(postgres_server, "template1") as url:
        plain = _Plain(fleets, url, "plain_stranger", is_member=False)
        engine = open_engine(plain.url)
        with pytest.raises(TenantRoleNotMade, match=f"GRANT {TENANT_ROLE} TO plain_stranger"):
            migrate.upgrade(engine)
        engine.dispose()
