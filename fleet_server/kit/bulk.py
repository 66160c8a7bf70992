"""Many rows in one statement, the ORM off the path: the one place where the two databases are told apart for writing.

SQLite takes an executemany of plain tuples. PostgreSQL takes many rows by binary COPY (`fleet_server.kit.bulk_copy`),
few as one JSON document through ``json_to_recordset`` in one round trip. Every way leaves rows that are already there
alone, or updates them when told to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Column, LargeBinary, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlmodel import Session
from sqlmodel.sql.sqltypes import UTCDateTime

from fleet_server.kit.bulk_copy import PLACE, copy_in, copy_straight

Rows = Sequence[Mapping[str, Any]]
Tuples = Sequence[Sequence[Any]]
# From so many rows on COPY is the cheaper way for client and server together. Measured with a commit each, microseconds
# a row of 11 columns and 250 bytes, COPY against JSON: 30 and 25 at 100 rows, equal at 200, 15 and 21 at 500.
COPY_FROM_ROWS = 200


@dataclass(frozen=True, slots=True)
class OnConflict:
    """What to do with a row whose ``key`` exists: nothing, or set ``update`` where ``newer`` is later than before."""

    key: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    newer: str = ""


IGNORE = OnConflict()


def write(session: Session, table: Table, rows: Rows, conflict: OnConflict = IGNORE) -> None:
    """Every row has the same names. Rows of one call must not share a key when they update."""
    if rows:
        names = tuple(rows[0])
        write_tuples(session, table, names, [[row[name] for name in names] for row in rows], conflict)


def write_tuples(
    session: Session, table: Table, names: tuple[str, ...], rows: Tuples, conflict: OnConflict = IGNORE
) -> None:
    """Like `write`, for rows that have the values of ``names`` in their order: no mapping is made for each."""
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        connection.exec_driver_sql(_sqlite_statement(table, names, conflict), _bound(table, names, rows))
    elif len(rows) < COPY_FROM_ROWS:
        statement = _postgres_statement(table, names, conflict)
        connection.exec_driver_sql(statement, (_document(table, names, rows),))
    else:
        arriving = copy_in(connection, table, names, rows)
        columns = ", ".join(f'"{name}"' for name in names)
        connection.exec_driver_sql(
            f'INSERT INTO "{table.name}" ({columns}) SELECT {columns} FROM "{arriving}" {_ending(table, conflict)}'  # noqa: S608 - names are those of our own tables
        )


def insert_tuples(session: Session, table: Table, names: tuple[str, ...], rows: Tuples) -> None:
    """Like `write_tuples`, for rows that no key of the table can refuse: it numbers them itself."""
    connection = session.connection()
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM_ROWS:
        copy_straight(connection, table, names, rows)
    else:
        write_tuples(session, table, names, rows)


def update(session: Session, table: Table, key: str, names: tuple[str, ...], rows: Tuples) -> None:
    """Sets ``names`` of rows that are there, named by ``key``; a row of ``rows`` is its key and then the values."""
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        sets = ", ".join(f'"{name}" = ?' for name in names)
        values = [(*row[1:], row[0]) for row in _bound(table, (key, *names), rows)]
        connection.exec_driver_sql(f'UPDATE "{table.name}" SET {sets} WHERE "{key}" = ?', values)  # noqa: S608 - names of our own tables
        return
    sets = ", ".join(f'"{name}" = given."{name}"' for name in names)
    head, tail = f'UPDATE "{table.name}" SET {sets} FROM ', f' AS given WHERE "{table.name}"."{key}" = given."{key}"'  # noqa: S608 - as above
    if len(rows) >= COPY_FROM_ROWS:
        connection.exec_driver_sql(f'{head}"{copy_in(connection, table, (key, *names), rows)}"{tail}')
        return
    _, _, shapes = _postgres_parts(table, (key, *names))
    given = f"json_to_recordset(CAST(%s AS json)) AS given({shapes})"
    where = tail.removeprefix(" AS given")
    connection.exec_driver_sql(f"{head}{given}{where}", (_document(table, (key, *names), rows),))


def append(session: Session, table: Table, rows: Rows, order_lock: int) -> list[int]:
    """The ``id`` of each new row, in order. They ascend in the order of commits: on PostgreSQL numbers are taken while
    the advisory lock ``order_lock`` is held, to the end of the transaction.
    """
    if not rows:
        return []
    names = tuple(rows[0])
    tuples = [[row[name] for name in names] for row in rows]
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        if len(rows) < COPY_FROM_ROWS:
            answer = connection.exec_driver_sql(
                _postgres_append(table, names, order_lock), (_document(table, names, tuples),)
            )
        else:
            arriving = copy_in(connection, table, names, tuples, with_place=True)
            answer = connection.exec_driver_sql(_postgres_append_copied(table, names, arriving, order_lock))
        return sorted(answer.scalars())
    # One statement for all: SQLite answers no ids for many. Nobody else writes meanwhile, so they are ours to give.
    newest: int = connection.exec_driver_sql(f'SELECT coalesce(max(id), 0) FROM "{table.name}"').scalar_one()  # noqa: S608 - the name of our own table
    ids = list(range(newest + 1, newest + 1 + len(rows)))
    write_tuples(session, table, ("id", *names), [(id_, *row) for id_, row in zip(ids, tuples, strict=True)])
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


@lru_cache(maxsize=64)
def _postgres_append_copied(table: Table, names: tuple[str, ...], arriving: str, order_lock: int) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    return (
        f"WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock({order_lock})) "  # noqa: S608 - as above
        f'INSERT INTO "{table.name}" ({columns}) SELECT {columns} FROM held, "{arriving}" '
        f'ORDER BY "{PLACE}" RETURNING id'
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


def _document(table: Table, names: tuple[str, ...], rows: Tuples) -> str:
    binary = _binary_names(table, names)
    named: Iterable[dict[str, Any]] = (dict(zip(names, row, strict=True)) for row in rows)
    if binary:
        named = ({**row, **{name: row[name].hex() for name in binary}} for row in named)
    return msgspec.json.encode(list(named)).decode()


@lru_cache(maxsize=64)
def _binary_names(table: Table, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if _is_binary(table.c[name]))


def _bound(table: Table, names: tuple[str, ...], rows: Tuples) -> list[tuple[Any, ...]]:
    """Rows as SQLite takes them; columns that need no conversion cost nothing."""
    binders = [(place, bind) for place, bind in enumerate(_binders(table, names)) if bind is not None]
    bound = []
    for row in rows:
        changed = list(row)
        for place, bind in binders:
            changed[place] = bind(row[place])
        bound.append(tuple(changed))
    return bound


@lru_cache(maxsize=64)
def _binders(table: Table, names: tuple[str, ...]) -> list[Any]:
    """The same conversions as SQLAlchemy makes for a bound parameter, looked up once a table."""
    dialect = sqlite.dialect()
    return [
        _moment if _is_moment(table.c[name]) else table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
        for name in names
    ]


def _is_moment(column: Column[Any]) -> bool:
    return isinstance(column.type, UTCDateTime)


def _moment(value: datetime | None) -> str | None:
    """As SQLAlchemy keeps a moment in SQLite; its own way through three layers costs ten times as much."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("expected a moment with its time zone, came one without")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
