"""Who did what: written in the transaction of the deed itself, so that neither exists without the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from fleet_server.audit import subjects
from fleet_server.audit.appending import NewEntry, append_at_commit
from fleet_server.audit.chain import plain
from fleet_server.audit.models import AuditEntry
from fleet_server.audit.repository import AuditQuery, AuditRepository
from fleet_server.auth.roles import Actor
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.kit.times import utc_now

SYSTEM = "system"  # the program itself, such as ``fleet-server init``
ADDRESS = "address"


def record(
    session: Session,
    actor: Actor,
    action: str,
    target: str = "",
    data: Mapping[str, Any] | None = None,
    *,
    address: str = "",
    personal: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> None:
    """``action`` is a stable word such as ``sign_in``; ``data`` never holds a secret, nor anything about a person: that
    is ``personal`` (texts that somebody typed) and ``address``, which can be erased later.
    """
    beside = {**({ADDRESS: address[:64]} if address else {}), **(personal or {})}
    append_at_commit(
        session,
        NewEntry(
            tenant_id=actor.tenant_id,
            at=now or utc_now(),
            actor=_text(subjects.of_actor(actor), 120),
            action=_text(action, 64),
            target=_text(target, 120),
            data=plain(data or {}),
            document=plain(beside),
        ),
    )


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """``actor`` and ``target``: a reference, or the name of a person."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def as_data(self) -> dict[str, str | int]:
        """For the audit's own entry that it was read: which conditions, without names."""
        moments = {"since": self.since, "until": self.until}
        given: dict[str, str | int] = {name: at.isoformat() for name, at in moments.items() if at is not None}
        return {**given, **({"action": self.action} if self.action else {})}


@dataclass(frozen=True, slots=True)
class AuditLine:
    """An entry as people read it: names in place of references, what was kept beside it in ``personal``."""

    id: int
    seq: int
    at: datetime
    actor: str
    action: str
    target: str
    data: Mapping[str, Any]
    personal: Mapping[str, Any]
    row_hash: str


class AuditService:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id
        self._repository = AuditRepository(session, tenant_id)

    def page(self, where: AuditFilter, cursor: str | None, limit: int) -> Page[AuditLine]:
        """Newest first."""
        before = decode_cursor(cursor, 1)[0] if cursor else None
        if not isinstance(before, int | None):
            raise CursorInvalid("cursor is not one of this list")
        rows = self._repository.list_newest(self.query(where), before_id=before, limit=limit + 1)
        shown = self._lines(rows[:limit])
        return Page(shown, encode_cursor(shown[-1].id) if len(rows) > limit else None)

    def query(self, where: AuditFilter) -> AuditQuery:
        """With references in place of names. The name itself is looked for too: programs are named by it."""
        return AuditQuery(
            self._either(where.actor), where.action or None, self._either(where.target), where.since, where.until
        )

    def _either(self, name: str | None) -> tuple[str, ...]:
        if not name:
            return ()
        return (name, *subjects.references_to(self._session, self._tenant_id, [name]).values())

    def _lines(self, rows: Sequence[AuditEntry]) -> list[AuditLine]:
        names = subjects.names_of(
            self._session, self._tenant_id, [name for row in rows for name in (row.actor, row.target)]
        )
        asides = self._repository.asides([row.seq for row in rows if row.aside])
        return [
            AuditLine(
                id=row.id or 0,
                seq=row.seq,
                at=row.at,
                actor=subjects.shown(row.actor, names),
                action=row.action,
                target=subjects.shown(row.target, names),
                data=row.data,
                personal=asides.get(row.seq, {}),
                row_hash=row.row_hash,
            )
            for row in rows
        ]


def _text(text: str, limit: int) -> str:
    return text.replace("\0", "\ufffd")[:limit]
