"""Writes a revision of the schema from the models.

``python tools/build_migration.py`` makes ``0001`` anew (only before the first release);
``python tools/build_migration.py "WHY"`` adds the step from the newest revision to the models.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from mako.template import Template
from sqlmodel.sql.sqltypes import AutoString, UTCDateTime

from fleet_server import migrate
from fleet_server.db import open_engine
from fleet_server.migrations.tables import metadata

_VERSIONS = migrate.MIGRATIONS / "versions"


def main() -> None:
    why = " ".join(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{folder}/empty.db")
        if why:
            migrate.upgrade(engine)
        after = migrate.head_revision() if why else None
        name = f"{int(after or 0) + 1:04d}"
        target = _VERSIONS / f"{name}_{_slug(why or 'the first tables')}.py"
        target.write_text(_render(engine, why or "The tables of the first release.", name, after), "utf-8")
        engine.dispose()
    for order in (["check", "--fix-only", "-q"], ["format", "-q"]):
        subprocess.run([sys.executable, "-m", "ruff", *order, str(target)], check=True)
    print(target)


def _render(engine: Any, why: str, name: str, after: str | None) -> str:
    with engine.connect() as connection:
        options = {
            "compare_type": True,
            "render_item": _render_item,
            "sqlalchemy_module_prefix": "sa.",
            "alembic_module_prefix": "op.",
            "user_module_prefix": None,
            "render_as_batch": after is not None,
        }
        context = MigrationContext.configure(connection, opts={**options, "target_metadata": metadata()})
        script = produce_migrations(context, metadata())
        bodies = {
            part: render_python_code(
                ops, render_as_batch=after is not None, render_item=_render_item, migration_context=context
            )
            .removeprefix("\n")
            .strip()
            for part, ops in (("upgrades", script.upgrade_ops), ("downgrades", script.downgrade_ops))
            if ops
        }
    template = Template(filename=str(migrate.MIGRATIONS / "script.py.mako"))
    text: str = template.render(message=why, up_revision=name, down_revision=after, **bodies)
    return "\n".join(line for line in text.splitlines() if "### " not in line) + "\n"


def _render_item(kind: str, item: Any, _context: Any) -> str | bool:
    """Plain SQLAlchemy types: a step must not change when SQLModel does."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, AutoString):
        return f"sa.String(length={item.impl.length})"  # type: ignore[attr-defined]  # String has it
    return False


def _slug(why: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in why.lower()).split())[:40]


if __name__ == "__main__":
    main()
