"""Many rows by their keys, so that both databases go to each of them and past all others.

SQLite keeps no statistics of our tables and guesses that an index on one column finds ten rows, be it the tenant of a
whole fleet, and that a list of pairs is no way into an index at all: it then reads the whole fleet for a hundred
devices. PostgreSQL knows its tables and needs no hint.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, and_, any_, literal, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import UnaryExpression
from sqlmodel import Session


class _OnlyCompared(UnaryExpression[Any]):
    inherit_cache = True


def only_compared(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column as a condition that rows are held against once they are found, and not a way to find them."""
    return _OnlyCompared(column, type_=column.type)


@compiles(_OnlyCompared)
def _plain(element: _OnlyCompared, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.element, **options)


@compiles(_OnlyCompared, "sqlite")
def _with_plus(element: _OnlyCompared, compiler: SQLCompiler, **options: Any) -> str:
    # https://www.sqlite.org/optoverview.html#disqualifying_where_clause_terms_using_unary_
    return f"+{compiler.process(element.element, **options)}"


def one_of(session: Session, column: ColumnElement[Any], values: Collection[str]) -> ColumnElement[bool]:
    """Whether the column is one of many texts. For PostgreSQL one parameter and not one each, which would make another
    statement of every number of them, to be written, parsed and planned anew.
    """
    if session.get_bind().dialect.name == "sqlite":
        return column.in_(values)
    return column == any_(literal(list(values), ARRAY(Text)))


def among(
    session: Session, first: ColumnElement[Any], second: ColumnElement[Any], keys: Collection[tuple[Any, Any]]
) -> ColumnElement[bool]:
    """Whether the two columns together are one of ``keys``; an index on both of them is used."""
    pairs = tuple_(first, second).in_(keys)
    if session.get_bind().dialect.name != "sqlite":
        return pairs
    return and_(first.in_({one for one, _ in keys}), pairs)
