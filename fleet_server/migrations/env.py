"""Alembic's entry: runs the steps on the connection that `fleet_server.migrate` holds the lock with."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlmodel.sql.sqltypes import AutoString, UTCDateTime

from fleet_server.migrations.tables import metadata


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Plain SQLAlchemy types in new steps: a step must not change when SQLModel does."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, AutoString):
        return f"sa.String(length={item.length})"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata(),
    compare_type=True,
    render_item=render_item,
    render_as_batch=True,  # SQLite cannot alter a column in place
)
with context.begin_transaction():
    context.run_migrations()
