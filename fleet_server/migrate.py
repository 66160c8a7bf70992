"""Brings the database to the schema of this version, under a lock, in one transaction on both databases.

Invariant: a database at a revision that this version does not know is never touched.

Write the first revision again from the models: ``python tools/build_migration.py``. Once released, a further step is
made by ``python tools/build_migration.py "why it is needed"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text

from fleet_server.row_security import secure
from fleet_server.schema import MIGRATIONS, current_revision, head_revision, refuse_unknown

if TYPE_CHECKING:
    from alembic.config import Config

# Any constant: every process that migrates takes the same PostgreSQL advisory lock.
_MIGRATION_LOCK = 7_451_000


def alembic_config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    # Without it alembic splits paths at spaces and warns about it.
    config.set_main_option("path_separator", "os")
    return config


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """The revision found and the one reached. Raises ``SchemaUnknown`` for a database of a later version."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        found = current_revision(connection)
        refuse_unknown(found)
        if found != head_revision():
            _take_steps(connection)
        secure(connection)
    return found, head_revision()


def _take_steps(connection: Connection) -> None:
    # Most starts have no step to take and need not load alembic.
    from alembic.command import upgrade as alembic_upgrade

    config = alembic_config()
    config.attributes["connection"] = connection
    alembic_upgrade(config, "head")
