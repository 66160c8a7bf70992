"""Every statement that is run for one tenant, looked at as SQLAlchemy runs it: does it say whose rows it wants?

For each table with ``tenant_id`` that a SELECT, UPDATE or DELETE names, at whatever depth, there must be a comparison
of that table's own ``tenant_id`` with a given value, beside it in the same SELECT - or the table is tied by an equation
of columns to one that has it. A filter that is written but not reached counts as missing, and one beside an OR narrows
nothing, unless the other side is that the row is of all tenants. Text that is no expression of SQLAlchemy may add rows;
all else of it is held against a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import Delete, Update
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, ColumnClause, Grouping, TextClause, True_
from sqlalchemy.sql.operators import and_, eq, is_, or_
from sqlalchemy.sql.selectable import Alias, FromClause, Join, Select, TableClause

from fleet_server.db import tenant_of

COLUMN = "tenant_id"
OF_ALL = "of_all"  # of rows that the operator of the installation made for every tenant to read
# Statements that name no tenant's rows, by how they begin. Of the newest event number and moment belong to nobody.
PLAIN = (
    "SELECT id, received_at FROM newest_event()",
    "SELECT event.id, event.received_at \nFROM event ORDER BY event.id DESC\n LIMIT",
)
# Of the driver: where a transaction begins and which tenant it keeps to, and rows that are added as one document.
OF_THE_DRIVER = (
    "BEGIN",
    "SELECT set_config(",
    "INSERT INTO ",
    "WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(",
    'SELECT coalesce(max(id), 0) FROM "event"',
)


@dataclass(slots=True)
class Watch:
    """``forgotten``: statements of callers' transactions that would see rows of every tenant. They are not refused: a
    program may answer what is raised in the middle of it and go on, the list stays.
    """

    seen: int = 0
    forgotten: list[str] = field(default_factory=list)

    def look(self, connection: Any, element: Any, *_more: Any) -> None:
        if tenant_of(connection) is None:
            return
        self.seen += 1
        missing = sorted(forgotten_in(element))
        if missing:
            self.forgotten.append(f"no tenant for {', '.join(missing)} in: {str(element)[:1500]}")

    def look_at_text(
        self, connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: Any
    ) -> None:
        is_raw = context is not None and context.compiled is None
        if is_raw and tenant_of(connection) is not None and not statement.startswith(OF_THE_DRIVER):
            self.forgotten.append(f"text of the driver: {statement[:300]}")


@contextmanager
def watched() -> Iterator[Watch]:
    """Of whatever engine."""
    watch = Watch()
    event.listen(Engine, "before_execute", watch.look)
    event.listen(Engine, "before_cursor_execute", watch.look_at_text)
    try:
        yield watch
    finally:
        event.remove(Engine, "before_execute", watch.look)
        event.remove(Engine, "before_cursor_execute", watch.look_at_text)


def forgotten_in(element: Any) -> set[str]:
    """Names of the tables whose tenant is not named."""
    forgotten: set[str] = set()
    if isinstance(element, TextClause):
        return set() if str(element).startswith(PLAIN) else {str(element)[:60]}
    if isinstance(element, Select) and str(element).startswith(PLAIN):
        return set()
    for part in visitors.iterate(element):
        if isinstance(part, Select):
            forgotten |= _loose(_tables(part.get_final_froms()), [*part._where_criteria, *_on(part.get_final_froms())])
        elif isinstance(part, Update | Delete) and not _is_of_a_row_in_hand(part):
            forgotten |= _loose(_tables([part.table]), list(part._where_criteria))
    return forgotten


def _is_of_a_row_in_hand(part: Update | Delete) -> bool:
    """SQLAlchemy's own, for an object that was read before, by a statement that was looked at: all of its key, and the
    names that only it gives.
    """
    terms = list(_conjoined(list(part._where_criteria)))
    keys = {column.name for column in part.table.primary_key}
    given = {f"{_name(part.table)}_{key}" for key in keys}
    return {getattr(getattr(term, "right", None), "key", None) for term in terms} == given


def _loose(tables: list[FromClause], conditions: list[Any]) -> set[str]:
    held = [table for table in tables if COLUMN in table.c]
    terms = list(_conjoined(conditions))
    named = {_name(table) for table in held for term in terms if _names_tenant(term, table)}
    ties = [tie for term in terms if (tie := _tie(term)) is not None]
    while True:
        reached = {two for one, two in ties if one in named} | {one for one, two in ties if two in named}
        if reached <= named:
            break
        named |= reached
    return {_name(table) for table in held} - named


def _tables(froms: Any) -> list[FromClause]:
    found: list[FromClause] = []
    for one in froms:
        if isinstance(one, Join):
            found += _tables([one.left, one.right])
        elif isinstance(one, TableClause) or (isinstance(one, Alias) and isinstance(one.element, TableClause)):
            found.append(one)
    return found


def _on(froms: Any) -> list[Any]:
    """Conditions of joins. Those of an outer join do not narrow its left side, but tie its right one."""
    found: list[Any] = []
    for one in froms:
        if isinstance(one, Join):
            found += [one.onclause, *_on([one.left, one.right])]
    return found


def _conjoined(conditions: list[Any]) -> Iterator[Any]:
    """Terms that must all hold: what stands beside an OR narrows nothing."""
    for condition in conditions:
        if isinstance(condition, BooleanClauseList) and condition.operator is and_:
            yield from _conjoined(list(condition.clauses))
        elif isinstance(condition, Grouping):
            yield from _conjoined([condition.element])
        else:
            yield condition


def _names_tenant(term: Any, table: FromClause) -> bool:
    """Or the tenant, or else that the row is of all tenants: nothing else may stand beside it in an OR."""
    if isinstance(term, BooleanClauseList) and term.operator is or_:
        narrowing = [one for one in term.clauses if not _is_of_all(one, table)]
        return len(narrowing) == 1 and _names_tenant(narrowing[0], table)
    if not isinstance(term, BinaryExpression) or term.operator is not eq:
        return False
    sides = [_column(term.left), _column(term.right)]
    own = [side for side in sides if side is not None and side.name == COLUMN and _name(side.table) == _name(table)]
    return bool(own) and any(side is None for side in sides)


def _is_of_all(term: Any, table: FromClause) -> bool:
    if not isinstance(term, BinaryExpression) or term.operator is not is_ or not isinstance(term.right, True_):
        return False
    side = _column(term.left)
    return side is not None and side.name == OF_ALL and _name(side.table) == _name(table)


def _tie(term: Any) -> tuple[str, str] | None:
    if not isinstance(term, BinaryExpression) or term.operator is not eq:
        return None
    left, right = _column(term.left), _column(term.right)
    if left is None or right is None or left.table is None or right.table is None:
        return None
    return _name(left.table), _name(right.table)


def _name(table: Any) -> str:
    """Within one SELECT two tables never have the same."""
    return str(table.name)


def _column(side: Any) -> Any:
    """The column of a table, also where an index is kept from being used by an empty addition."""
    for part in visitors.iterate(side):
        if isinstance(part, ColumnClause) and part.table is not None:
            return part
    return None
