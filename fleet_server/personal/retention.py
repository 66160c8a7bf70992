"""What about people is kept no longer than its kind is needed, forgotten by the scheduler in small steps.

- Contacts of a site whose last device went so long ago, and which nobody has said anew since.
- People who have been let in no more for so long: erased as on request, so that history keeps its shape.
- Who did what, and what they wrote, of runs, approvals, permits, faults, enrolments and retirements that are over: the
  names become a label, the texts go. That something was done stays.

Each step changes some rows only, and what was forgotten is not found again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Table, delete, exists, or_, select, update
from sqlmodel import Session, SQLModel, col
from sqlmodel import select as select_model

from fleet_server.audit.service import SYSTEM
from fleet_server.audit.subjects import of_person
from fleet_server.auth.models import User
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device, Site
from fleet_server.kit.identifiers import uuid7
from fleet_server.migrations.tables import metadata
from fleet_server.personal.erasing import wanted
from fleet_server.personal.models import Erasure
from fleet_server.personal.subjects import subject_of

BATCH = 250
FORGOTTEN = "forgotten"
_SITE: Table = Site.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_DEVICE: Table = Device.__table__  # type: ignore[attr-defined]  # as above


@dataclass(frozen=True, slots=True)
class _Over:
    """A table of which rows are over since ``moment``. ``values``: what is written then; none: the row goes."""

    table: str
    moment: str
    values: Mapping[str, Any]
    unless: str = ""  # a column that is true while it is not over


_WHAT_IS_OVER = (
    _Over(
        "execution",
        "finished_at",
        {
            "actor": FORGOTTEN,
            "cancel_asked_by": "",
            "override_reason": None,
            "params": {},
            "detail": "",
            "output_tail": "",
        },
    ),
    _Over("playbook_run", "ended_at", {"started_by": FORGOTTEN, "cancel_asked_by": "", "given": {}}),
    _Over("playbook_step", "ended_at", {"heard": None}),
    _Over("approval", "expires_at", {}, unless="is_open"),
    _Over("approval_signature", "signed_at", {}),
    _Over("shift_permit", "not_after", {}),
    _Over("assignment", "ends_at", {}),
    _Over("change_freeze", "ends_at", {}),
    _Over("fault", "cleared_at", {"evidence": ""}),
    _Over("enrolment", "expires_at", {"created_by": FORGOTTEN, "decided_by": "", "address": ""}),
    _Over("retirement", "at", {"retired_by": FORGOTTEN, "note": ""}),
)


def forget_contacts(session: Session, tenant_id: str, before: datetime) -> int:
    """How many sites lost whom to call."""
    stands_there = exists().where(
        _DEVICE.c.site_id == _SITE.c.id,
        _DEVICE.c.tenant_id == tenant_id,
        or_(_DEVICE.c.retired_at.is_(None), _DEVICE.c.retired_at >= before),
    )
    named = or_(_SITE.c.contact_name != "", _SITE.c.phone != "", _SITE.c.address != "")
    # One of before that was written down is known by the device that went.
    is_old = or_(_SITE.c.contact_at < before, _SITE.c.contact_at.is_(None))
    had_one = or_(
        _SITE.c.contact_at.is_not(None),
        exists().where(_DEVICE.c.site_id == _SITE.c.id, _DEVICE.c.tenant_id == tenant_id),
    )
    vacant = select(_SITE.c.id).where(_SITE.c.tenant_id == tenant_id, named, is_old, had_one, ~stands_there)
    ids = session.execute(vacant.order_by(_SITE.c.id).limit(BATCH)).scalars().all()
    if ids:
        gone = {"contact_name": "", "phone": "", "address": ""}
        session.execute(update(_SITE).where(_SITE.c.tenant_id == tenant_id, _SITE.c.id.in_(ids)).values(**gone))
    return len(ids)


def forget_people(session: Session, tenant_id: str, before: datetime, now: datetime) -> int:
    """How many are to be erased because they have been let in no more since before ``before``."""
    system = Actor("", SYSTEM, Role.OPERATOR, tenant_id, ActorKind.PERSON)
    asked = exists().where(
        col(Erasure.tenant_id) == tenant_id,
        col(Erasure.subject) == of_person("") + col(User.id),
        col(Erasure.done_at).is_(None),
    )
    gone = select_model(User.id).where(User.tenant_id == tenant_id, col(User.disabled_at) < before, ~asked)
    ids: Sequence[str] = session.exec(gone.limit(BATCH)).all()
    for person_id in ids:
        subject = subject_of(session, tenant_id, of_person(person_id))
        if subject is not None:
            wanted(session, system, subject, now, erasure_id=uuid7(now), now=now)
    return len(ids)


def forget_notes(engine: Engine, tenant_id: str, before: datetime) -> bool:
    """Of each table a piece; whether there may be more. What is looked for has no index, so it is looked for in a
    reading, in which nobody waits, and changed in a transaction of its own.
    """
    metadata()
    more = [_forget_piece(engine, over, tenant_id, before) for over in _WHAT_IS_OVER]
    return any(more)


def _forget_piece(engine: Engine, over: _Over, tenant_id: str, before: datetime) -> bool:
    table = SQLModel.metadata.tables[over.table]
    key = list(table.primary_key.columns)
    ours = (table.c.tenant_id == tenant_id, table.c[over.moment] < before, *_not_yet(table, over))
    with reading(engine, tenant_id) as session:
        rows = session.execute(select(*key).where(*ours).order_by(*key).limit(BATCH)).all()
    if not rows:
        return False
    with transaction(engine, tenant_id) as session:
        for row in rows:
            mine = [column == value for column, value in zip(key, row, strict=True)]
            change = update(table).values(**over.values) if over.values else delete(table)
            session.execute(change.where(*mine, *ours))
    return len(rows) == BATCH


def _not_yet(table: Table, over: _Over) -> Iterator[ColumnElement[bool]]:
    """Neither in force nor forgotten before."""
    if over.unless:
        yield table.c[over.unless].is_(False)
    for column, value in list(over.values.items())[:1]:
        yield table.c[column] != value
