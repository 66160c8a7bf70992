"""Entries join the chain at the commit, after everything else: whoever appends for a tenant holds its head from there
to the end of the commit, and for that time only others that append for this tenant wait. So the head is the last lock
of any transaction (`fleet_server.db`).

Invariant: an entry is written in the transaction of its deed, or neither is.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import event, insert, select
from sqlmodel import Session

from fleet_server.audit import subjects
from fleet_server.audit.chain import GENESIS, ChainRow, commitment
from fleet_server.audit.models import AuditAside, AuditEntry, AuditHead
from fleet_server.kit import bulk
from fleet_server.kit.times import to_us

_ENTRY = AuditEntry.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_ASIDE = AuditAside.__table__  # type: ignore[attr-defined]  # as above
_HEAD = AuditHead.__table__  # type: ignore[attr-defined]  # as above
_KEY: Final = "audit"


@dataclass(frozen=True, slots=True)
class NewEntry:
    """``document``: what is kept beside the chain because it is about a person."""

    tenant_id: str
    at: datetime
    actor: str
    action: str
    target: str
    data: Mapping[str, Any]
    document: Mapping[str, Any]


def append_at_commit(session: Session, entry: NewEntry) -> None:
    waiting: list[NewEntry] | None = session.info.get(_KEY)
    if waiting is None:
        waiting = session.info[_KEY] = []
        event.listen(session, "before_commit", _append)
        event.listen(session, "after_rollback", _drop)
    waiting.append(entry)


def _append(session: Session) -> None:
    waiting: list[NewEntry] = session.info.get(_KEY, [])
    entries, waiting[:] = list(waiting), []
    by_tenant: defaultdict[str, list[NewEntry]] = defaultdict(list)
    for entry in entries:
        by_tenant[entry.tenant_id].append(entry)
    if by_tenant:
        # What else was done goes first: its locks come before the head's.
        session.flush()
    for tenant_id in sorted(by_tenant):
        _append_to(session, tenant_id, by_tenant[tenant_id])


def _append_to(session: Session, tenant_id: str, entries: list[NewEntry]) -> None:
    people = subjects.references_to(session, tenant_id, {one.target for one in entries if _may_name_a_person(one)})
    seq, prev_hash = _held_head(session, tenant_id)
    rows, asides = [], []
    for entry in entries:
        seq += 1
        salt = secrets.token_hex(16) if entry.document else ""
        aside = commitment(salt, entry.document) if entry.document else ""
        at_us = to_us(entry.at)
        target = people.get(entry.target, entry.target) if _may_name_a_person(entry) else entry.target
        row = ChainRow(tenant_id, seq, at_us, entry.actor, entry.action, target, entry.data, aside, prev_hash, "")
        rows.append(
            {
                "tenant_id": tenant_id,
                "seq": seq,
                "at": entry.at,
                "actor": entry.actor,
                "action": entry.action,
                "target": target,
                "data": entry.data,
                "aside": aside,
                "prev_hash": prev_hash,
                "row_hash": (prev_hash := row.digest()),
            }
        )
        if aside:
            asides.append({"tenant_id": tenant_id, "seq": seq, "salt": salt, "document": entry.document})
    connection = session.connection()
    connection.execute(insert(_ENTRY), rows)
    if asides:
        connection.execute(insert(_ASIDE), asides)


def _may_name_a_person(entry: NewEntry) -> bool:
    """Tokens are named by their own names, which may be a person's."""
    return bool(entry.target) and not entry.target.startswith("d-") and not entry.action.startswith("token_")


def _held_head(session: Session, tenant_id: str) -> tuple[int, str]:
    """Of all processes that append for this tenant one is past this line until its transaction ends."""
    held = select(_HEAD.c.seq, _HEAD.c.row_hash).where(_HEAD.c.tenant_id == tenant_id).with_for_update()
    found = session.execute(held).first()
    if found is None:
        # Of two that begin a chain one makes its head; the other waits here, and finds it.
        bulk.write(session, _HEAD, [{"tenant_id": tenant_id, "seq": 0, "row_hash": GENESIS, "held": 0}])
        found = session.execute(held).one()
    return found.seq, found.row_hash


def _drop(session: Session) -> None:
    session.info.get(_KEY, []).clear()
