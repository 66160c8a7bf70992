"""A backup that is brought back loses whom the ledger says was erased since it was made, before anybody sees it.

A person or a contact is found by id, erased as they are written there, with all that mentions them; of rows whose texts
mentioned somebody nothing else is known than their keys, so those texts go whole.

Invariant: a contact that came to a site after another one was erased there stays.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select, update
from sqlmodel import Session, SQLModel

from fleet_server.audit.service import SYSTEM
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Site
from fleet_server.migrations.tables import metadata
from fleet_server.personal.erasing import Eraser, wanted
from fleet_server.personal.ledger import Ledger, Line
from fleet_server.personal.matching import Matcher
from fleet_server.personal.models import Erasure
from fleet_server.personal.register import Erased, fields_of
from fleet_server.personal.subjects import ERASED, Kind, Subject, subject_of

_TEXTS = (Erased.TEXT, Erased.DOCUMENT, Erased.SIGNED, Erased.NUMBER)


def replay(engine: Engine, ledger: Ledger, now: datetime, say: Callable[[str], None]) -> int:
    """How many were erased once more. Raises ``LedgerUnusable``."""
    metadata()
    lines = ledger.lines()
    people = [line for line in lines if not line.table]
    done = sum(_erase(engine, ledger, line, now) for line in {line.id: line for line in people}.values())
    for line in lines:
        if line.table:
            _blank(engine, line)
    if people:
        say(f"Of {len(people)} in the ledger of erasures {done} were in the backup, and are erased again.")
    return done


def _erase(engine: Engine, ledger: Ledger, line: Line, now: datetime) -> bool:
    with reading(engine) as session:
        known = session.get(Erasure, line.id)
        if known is not None and known.done_at is not None:
            return False
        subject = None if known is not None else subject_of(session, line.tenant, line.subject)
        if known is None and (subject is None or _is_another(session, subject, line.asked_at)):
            return False
    if known is None and subject is not None:
        system = Actor("", SYSTEM, Role.OPERATOR, line.tenant, ActorKind.PERSON)
        with transaction(engine) as session:
            wanted(session, system, subject, line.asked_at, erasure_id=line.id, now=now)
    Eraser(engine, ledger, lambda: now).finish(line.id, lambda _: None)
    return True


def _is_another(session: Session, subject: Subject, erased_at: datetime) -> bool:
    if subject.kind is not Kind.SITE:
        return False
    contact_at = session.get_one(Site, subject.id).contact_at
    return contact_at is not None and contact_at > erased_at


def _blank(engine: Engine, line: Line) -> None:
    table = SQLModel.metadata.tables[line.table]
    key = list(table.primary_key.columns)
    fields = [field for field in fields_of(line.table) if field.erased in _TEXTS]
    with transaction(engine) as session:
        for values in line.rows:
            mine = [column == value for column, value in zip(key, values, strict=True)]
            here = (*mine, table.c.tenant_id == line.tenant)
            columns = [table.c[field.column] for field in fields]
            row = session.execute(select(*columns).where(*here)).mappings().first() if columns else None
            if row is None:
                continue
            blank = {field.column: _blanked(field.column, field.erased, row[field.column]) for field in fields}
            session.execute(update(table).where(*here).values(**blank))


def _blanked(column: str, how: Erased, value: Any) -> Any:
    if not value or how is Erased.NUMBER:
        return None if how is Erased.NUMBER else value
    if how is Erased.SIGNED:
        return Matcher.signed_gone(column)
    if how is Erased.DOCUMENT:
        return Matcher.document_gone(value)
    return [] if isinstance(value, list) else ERASED
