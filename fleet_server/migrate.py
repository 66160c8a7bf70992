"""Brings the database to the schema of this version, under a lock, in one transaction on both databases.

Invariant: a database at a revision that this version does not know is never touched.

Write the first revision again from the models: ``python tools/build_migration.py``. Once released, a further step is
made by ``python tools/build_migration.py "why it is needed"``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic.command import upgrade as alembic_upgrade
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from fleet_server.errors import SchemaUnknown

MIGRATIONS = Path(__file__).with_name("migrations")
# Any constant: every process that migrates takes the same PostgreSQL advisory lock.
_MIGRATION_LOCK = 7_451_000


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    # Without it alembic splits paths at spaces and warns about it.
    config.set_main_option("path_separator", "os")
    return config


@cache
def head_revision() -> str:
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise SchemaUnknown(f"{MIGRATIONS} holds no revision: the installation is incomplete")
    return head


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """The revision found and the one reached. Raises ``SchemaUnknown`` for a database of a later version."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        found = current_revision(connection)
        _refuse_unknown(found)
        if found != head_revision():
            config = alembic_config()
            config.attributes["connection"] = connection
            alembic_upgrade(config, "head")
    return found, head_revision()


def check_revision(engine: Engine) -> None:
    """Raises ``SchemaUnknown`` unless the database is exactly at the revision of this version."""
    with engine.connect() as connection:
        found = current_revision(connection)
    _refuse_unknown(found)
    if found != head_revision():
        stated = found or "no revision"
        raise SchemaUnknown(f"the database is at {stated}, expected {head_revision()}: run 'fleet-server migrate'")


def current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_unknown(found: str | None) -> None:
    known = {step.revision for step in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaUnknown(
            f"the database is at revision {found}, which this version does not know (newest known: {head_revision()}); "
            "install the version that made it, nothing was changed"
        )
