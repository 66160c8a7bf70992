"""Going over one table for one person, in pieces in the order of its key, without holding anything: a statement reads
as far as the piece is full, and what is read is looked at once more before it is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, literal, select, tuple_
from sqlmodel import Session

from fleet_server.db import reading
from fleet_server.migrations.tables import metadata
from fleet_server.personal.matching import Matcher
from fleet_server.personal.register import tables
from fleet_server.personal.subjects import Subject

# A piece of so many rows is one transaction.
BATCH = 200
# Sessions and codes before the person that they belong to. What is being erased is the erasure's own affair.
_FIRST = ("login_session", "known_browser", "recovery_code", "oidc_link", "person")
Row = Mapping[str, Any]


def order() -> tuple[str, ...]:
    return (*_FIRST, *(name for name in tables() if name not in {*_FIRST, "erasure"}))


@dataclass(frozen=True, slots=True)
class Piece:
    """``after``: the key behind which the next piece begins; None: there is none."""

    rows: Sequence[Row]
    after: list[Any] | None


def piece(session: Session, matcher: Matcher, after: Sequence[Any], limit: int = BATCH) -> Piece:
    """Candidates: rows that the person may stand in."""
    conditions = matcher.conditions()
    if conditions is None:
        return Piece([], None)
    statement = select(*columns(matcher)).where(conditions)
    if after:
        # As a row of values: the key has an index, and both databases follow it.
        statement = statement.where(tuple_(*matcher.key) > tuple_(*(literal(one) for one in after)))
    found = session.execute(statement.order_by(*matcher.key).limit(limit)).mappings()
    rows: list[Row] = [dict(row) for row in found]
    last = [rows[-1][column.name] for column in matcher.key] if len(rows) == limit else None
    return Piece(rows, last)


def columns(matcher: Matcher) -> list[Any]:
    names = dict.fromkeys([*(column.name for column in matcher.key), *(field.column for field in matcher.fields)])
    if "user_id" in matcher.table.c:
        names["user_id"] = None
    return [*(matcher.table.c[name] for name in names), *matcher.beside()]


def scan(engine: Engine, subject: Subject) -> Iterator[tuple[str, Row, dict[str, Any]]]:
    """Everything about the person: table, row and the columns that are about them."""
    metadata()
    for name in order():
        matcher = Matcher(name, subject, is_sqlite=engine.dialect.name == "sqlite")
        after: list[Any] | None = []
        while after is not None:
            with reading(engine, subject.tenant_id) as session:
                found = piece(session, matcher, after)
            for row in found.rows:
                about = matcher.mentioned(row)
                if about:
                    yield name, row, about
            after = found.after
