"""Many rows in one statement, the ORM off the path: the one place where the two databases are told apart for writing.

SQLite takes an executemany of plain tuples; PostgreSQL one JSON document through ``json_to_recordset``, which costs the
client a few microseconds a row and needs no round trip a row. Both leave rows that are already there alone, or update
them when told to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Column, LargeBinary, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlmodel import Session

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class OnConflict:
    """What to do with a row whose ``key`` exists: nothing, or set ``update`` where ``newer`` is later than before."""

    key: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    newer: str = ""


IGNORE = OnConflict()


def write(session: Session, table: Table, rows: Rows, conflict: OnConflict = IGNORE) -> None:
    """Every row has the same names. Rows of one call must not share a key when they update."""
    if not rows:
        return
    names = tuple(rows[0])
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        statement = _postgres_statement(table, names, conflict)
        document = msgspec.json.encode([_for_json(table, names, row) for row in rows]).decode()
        connection.execute(text(statement), {"rows": document})
        return
    binds = _binders(table, names)
    values = [tuple(bind(row[name]) for name, bind in binds) for row in rows]
    connection.exec_driver_sql(_sqlite_statement(table, names, conflict), values)


def _ending(table: Table, conflict: OnConflict) -> str:
    if not conflict.update:
        return "ON CONFLICT DO NOTHING"
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in conflict.update)
    keys = ", ".join(f'"{name}"' for name in conflict.key)
    where = f' WHERE excluded."{conflict.newer}" >= "{table.name}"."{conflict.newer}"' if conflict.newer else ""
    return f"ON CONFLICT ({keys}) DO UPDATE SET {sets}{where}"


@lru_cache(maxsize=64)
def _sqlite_statement(table: Table, names: tuple[str, ...], conflict: OnConflict) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" * len(names))
    return f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks}) {_ending(table, conflict)}'  # noqa: S608 - names are those of our own tables


@lru_cache(maxsize=64)
def _postgres_statement(table: Table, names: tuple[str, ...], conflict: OnConflict) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have untyped constructors
    shapes = ", ".join(f'"{name}" {_recordset_type(table.c[name], dialect)}' for name in names)
    picked = ", ".join(f"decode(\"{name}\", 'hex')" if _is_binary(table.c[name]) else f'"{name}"' for name in names)
    return (
        f'INSERT INTO "{table.name}" ({columns}) SELECT {picked} '  # noqa: S608 - names are those of our own tables
        f"FROM json_to_recordset(CAST(:rows AS json)) AS given({shapes}) {_ending(table, conflict)}"
    )


def _recordset_type(column: Column[Any], dialect: Dialect) -> str:
    return "text" if _is_binary(column) else str(column.type.compile(dialect=dialect))


def _is_binary(column: Column[Any]) -> bool:
    return isinstance(column.type, LargeBinary)


def _for_json(table: Table, names: tuple[str, ...], row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name].hex() if _is_binary(table.c[name]) else row[name] for name in names}


@lru_cache(maxsize=64)
def _binders(table: Table, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    """The same conversions as SQLAlchemy makes for a bound parameter, looked up once a table."""
    dialect = sqlite.dialect()
    found = ((name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names)
    return [(name, processor or _unchanged) for name, processor in found]


def _unchanged(value: Any) -> Any:
    return value
