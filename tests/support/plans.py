"""SQLite's plans of what a test did: ``with plans_of(engine) as plans`` holds them once the block has ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, event

_EXPLAINED = ("SELECT", "UPDATE", "DELETE", "WITH")


@contextmanager
def plans_of(engine: Engine) -> Iterator[dict[str, list[str]]]:
    """Statement to the lines of its plan."""
    said: dict[str, object] = {}
    plans: dict[str, list[str]] = {}

    def note(_on: object, _cursor: object, statement: str, parameters: object, _context: object, many: bool) -> None:
        said[statement] = parameters[0] if many and isinstance(parameters, list) else parameters

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        for statement, parameters in said.items():
            if statement.lstrip().startswith(_EXPLAINED):
                plans[statement] = _lines(connection, statement, parameters)


def _lines(connection: Connection, statement: str, parameters: object) -> list[str]:
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]  # as they were given to it
    return [str(row[3]) for row in rows]
