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
from sqlalchemy import Column, LargeBinary, Table
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
        connection.exec_driver_sql(_postgres_statement(table, names, conflict), (_document(table, names, rows),))
        return
    binds = _binders(table, names)
    values = [tuple(bind(row[name]) for name, bind in binds) for row in rows]
    connection.exec_driver_sql(_sqlite_statement(table, names, conflict), values)


def append(session: Session, table: Table, rows: Rows, order_lock: int) -> list[int]:
    """The ``id`` of each new row, in order. They ascend in the order of commits: on PostgreSQL numbers are taken while
    the advisory lock ``order_lock`` is held, to the end of the transaction.
    """
    if not rows:
        return []
    names = tuple(rows[0])
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        statement = _postgres_append(table, names, order_lock)
        return sorted(connection.exec_driver_sql(statement, (_document(table, names, rows),)).scalars())
    # One statement for all: SQLite answers no ids for many. Nobody else writes meanwhile, so they are ours to give.
    newest: int = connection.exec_driver_sql(f'SELECT coalesce(max(id), 0) FROM "{table.name}"').scalar_one()  # noqa: S608 - the name of our own table
    ids = list(range(newest + 1, newest + 1 + len(rows)))
    write(session, table, [{"id": id_, **row} for id_, row in zip(ids, rows, strict=True)])
    return ids


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
    columns, picked, shapes = _postgres_parts(table, names)
    return (
        f'INSERT INTO "{table.name}" ({columns}) SELECT {picked} '  # noqa: S608 - names are those of our own tables
        f"FROM json_to_recordset(CAST(%s AS json)) AS given({shapes}) {_ending(table, conflict)}"
    )


@lru_cache(maxsize=64)
def _postgres_append(table: Table, names: tuple[str, ...], order_lock: int) -> str:
    """The lock is taken before the first row leaves the join; numbers are given after that, in the rows' order."""
    columns, picked, shapes = _postgres_parts(table, names)
    return (
        f"WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock({order_lock})) "  # noqa: S608 - as above
        f'INSERT INTO "{table.name}" ({columns}) SELECT {picked} FROM held, '
        f"ROWS FROM (json_to_recordset(CAST(%s AS json)) AS ({shapes})) WITH ORDINALITY "
        "ORDER BY ordinality RETURNING id"
    )


def _postgres_parts(table: Table, names: tuple[str, ...]) -> tuple[str, str, str]:
    """Names of columns, how each is picked from the document's rows, and the types of those."""
    columns = ", ".join(f'"{name}"' for name in names)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have untyped constructors
    shapes = ", ".join(f'"{name}" {_recordset_type(table.c[name], dialect)}' for name in names)
    picked = ", ".join(f"decode(\"{name}\", 'hex')" if _is_binary(table.c[name]) else f'"{name}"' for name in names)
    return columns, picked, shapes


def _recordset_type(column: Column[Any], dialect: Dialect) -> str:
    return "text" if _is_binary(column) else str(column.type.compile(dialect=dialect))


def _is_binary(column: Column[Any]) -> bool:
    return isinstance(column.type, LargeBinary)


def _document(table: Table, names: tuple[str, ...], rows: Rows) -> str:
    binary = _binary_names(table, names)
    if binary:
        rows = [{**row, **{name: row[name].hex() for name in binary}} for row in rows]
    return msgspec.json.encode(rows).decode()


@lru_cache(maxsize=64)
def _binary_names(table: Table, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if _is_binary(table.c[name]))


@lru_cache(maxsize=64)
def _binders(table: Table, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    """The same conversions as SQLAlchemy makes for a bound parameter, looked up once a table."""
    dialect = sqlite.dialect()
    found = ((name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names)
    return [(name, processor or _unchanged) for name, processor in found]


def _unchanged(value: Any) -> Any:
    return value
