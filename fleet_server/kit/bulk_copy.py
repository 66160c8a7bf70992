"""Many rows into PostgreSQL: binary COPY into a temporary table, moved on by one INSERT, or straight into a table where
no key can refuse a row.

It costs the client about one microsecond a row and no parsing on the server; two round trips more than a statement, so
few rows go another way (`fleet_server.kit.bulk`).

Invariant: a temporary table holds nothing outside the transaction that filled it. It is made once a connection, asked
for once a transaction, for a rollback also takes back that it was made.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
import psycopg
from sqlalchemy import JSON, Column, Connection, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from fleet_server.errors import FleetError

PLACE = "place"
_INFO = "tillmedic.arriving"
# What psycopg calls the types of our columns; binary JSON is its text.
_COPIED_AS = {
    "BIGINT": "int8",
    "INTEGER": "int4",
    "SMALLINT": "int2",
    "FLOAT": "float8",
    "BOOLEAN": "bool",
    "BYTEA": "bytea",
    "JSON": "text",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}


class ColumnNotCopied(FleetError):
    """A table with a type of column that nobody has copied yet: a mistake of ours."""

    code = "column_not_copied"


@dataclass(frozen=True, slots=True)
class _Arriving:
    """The temporary table for some columns of a table."""

    name: str
    make: str
    fill: str
    types: tuple[str, ...]
    json_places: tuple[int, ...]


@dataclass(slots=True)
class _InUse:
    """Temporary tables that the present transaction of a connection knows to be there."""

    transaction: weakref.ref[Any] | None = None
    names: set[str] = field(default_factory=set)


def copy_in(
    connection: Connection,
    table: Table,
    names: tuple[str, ...],
    rows: Sequence[Sequence[Any]],
    *,
    with_place: bool = False,
) -> str:
    """The name of the temporary table that now holds ``rows`` and nothing else; ``with_place``: numbered by PLACE."""
    arriving = _arriving(table, names, with_place)
    _make_ready(connection, arriving)
    _fill(connection, arriving, arriving.fill, rows, with_place=with_place)
    return arriving.name


def copy_straight(connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
    """Half the work for the server, but one row that is there already undoes the transaction."""
    columns = ", ".join(f'"{name}"' for name in names)
    fill = f'COPY "{table.name}" ({columns}) FROM STDIN (FORMAT BINARY)'
    _fill(connection, _arriving(table, names, with_place=False), fill, rows, with_place=False)


def _fill(
    connection: Connection, shape: _Arriving, statement: str, rows: Sequence[Sequence[Any]], *, with_place: bool
) -> None:
    found: Iterable[Sequence[Any]] = _as_json(rows, shape.json_places) if shape.json_places else rows
    if with_place:
        found = ((place, *row) for place, row in enumerate(found))
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"expected a connection of psycopg, came {type(driver).__name__}")
    try:
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types(shape.types)
            for row in found:
                copy.write_row(row)
    except psycopg.Error as error:
        raise _as_sqlalchemy(connection, statement, error) from error


def _make_ready(connection: Connection, arriving: _Arriving) -> None:
    in_use = connection.info.setdefault(_INFO, _InUse())
    transaction = connection.get_transaction()
    if in_use.transaction is None or in_use.transaction() is not transaction:
        in_use.transaction = None if transaction is None else weakref.ref(transaction)
        in_use.names.clear()
    if arriving.name in in_use.names:
        connection.exec_driver_sql(f'TRUNCATE "{arriving.name}"')
        return
    connection.exec_driver_sql(arriving.make)
    in_use.names.add(arriving.name)


def _as_sqlalchemy(connection: Connection, statement: str, error: psycopg.Error) -> BaseException:
    """What SQLAlchemy would have raised, so that callers tell a lost database from a row that it refuses."""
    driver = connection.connection.driver_connection
    is_lost = bool(getattr(driver, "closed", True))
    translated = DBAPIError.instance(
        statement, None, error, psycopg.Error, connection_invalidated=is_lost, dialect=connection.dialect
    )
    if is_lost:
        connection.invalidate(error)
    return translated


def _as_json(rows: Iterable[Sequence[Any]], places: tuple[int, ...]) -> Iterable[Sequence[Any]]:
    for row in rows:
        changed = list(row)
        for place in places:
            changed[place] = None if row[place] is None else msgspec.json.encode(row[place]).decode()
        yield changed


@lru_cache(maxsize=64)
def _arriving(table: Table, names: tuple[str, ...], with_place: bool) -> _Arriving:  # noqa: FBT001 - the cache takes keywords for other calls
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have untyped constructors
    declared = [(name, str(table.c[name].type.compile(dialect=dialect))) for name in names]
    types = [_copied_as(table.c[name], kind) for name, kind in declared]
    if with_place:
        declared.insert(0, (PLACE, "BIGINT"))
        types.insert(0, "int8")
    # Other columns are another table; 63 bytes of a name count.
    mark = blake2b("\n".join(name for name, _ in declared).encode(), digest_size=6).hexdigest()
    name = f"arriving_{table.name[:36]}_{mark}"
    columns = ", ".join(f'"{column}" {kind}' for column, kind in declared)
    return _Arriving(
        name,
        f'CREATE TEMPORARY TABLE IF NOT EXISTS "{name}" ({columns}) ON COMMIT DELETE ROWS',
        f'COPY "{name}" FROM STDIN (FORMAT BINARY)',
        tuple(types),
        tuple(place for place, column in enumerate(names) if isinstance(table.c[column].type, JSON)),
    )


def _copied_as(column: Column[Any], kind: str) -> str:
    if kind.startswith(("VARCHAR", "TEXT")):
        return "text"
    try:
        return _COPIED_AS[kind]
    except KeyError as error:
        raise ColumnNotCopied(f"{column}: expected one of {sorted(_COPIED_AS)} or a text, came {kind}") from error
