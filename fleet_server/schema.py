"""Which revisions of the database schema this version knows, and at which one a database is.

Every process asks at its start, so nothing here needs alembic: a step's file begins with its revision's number. Taking
the steps is left to `fleet_server.migrate`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from fleet_server.errors import SchemaUnknown

MIGRATIONS = Path(__file__).with_name("migrations")


@cache
def known_revisions() -> tuple[str, ...]:
    """Oldest first."""
    known = sorted(step.name.partition("_")[0] for step in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
    if not known:
        raise SchemaUnknown(f"{MIGRATIONS} holds no revision: the installation is incomplete")
    return tuple(known)


def head_revision() -> str:
    return known_revisions()[-1]


def current_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def refuse_unknown(found: str | None) -> None:
    if found is not None and found not in known_revisions():
        raise SchemaUnknown(
            f"the database is at revision {found}, which this version does not know (newest known: {head_revision()}); "
            "install the version that made it, nothing was changed"
        )


def check_revision(engine: Engine) -> None:
    """Raises ``SchemaUnknown`` unless the database is exactly at the revision of this version."""
    with engine.connect() as connection:
        found = current_revision(connection)
    refuse_unknown(found)
    if found != head_revision():
        stated = found or "no revision"
        raise SchemaUnknown(f"the database is at {stated}, expected {head_revision()}: run 'fleet-server migrate'")
