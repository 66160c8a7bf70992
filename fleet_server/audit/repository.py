"""Questions to the audit of one tenant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_
from sqlalchemy import select as select_rows
from sqlmodel import Session, col, select

from fleet_server.audit.chain import ChainRow
from fleet_server.audit.models import AuditAnchor, AuditAside, AuditEntry, AuditHead
from fleet_server.kit.times import to_us

_ENTRY = AuditEntry.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_ASIDE = AuditAside.__table__  # type: ignore[attr-defined]  # as above
_BESIDE = and_(_ASIDE.c.tenant_id == _ENTRY.c.tenant_id, _ASIDE.c.seq == _ENTRY.c.seq)


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """``actors`` and ``targets``: any of these; empty: all."""

    actors: tuple[str, ...] = ()
    action: str | None = None
    targets: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


class AuditRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def list_newest(self, query: AuditQuery, *, before_id: int | None, limit: int) -> Sequence[AuditEntry]:
        statement = select(AuditEntry).where(*self._conditions(query))
        if before_id is not None:
            statement = statement.where(col(AuditEntry.id) < before_id)
        return self._session.exec(statement.order_by(col(AuditEntry.id).desc()).limit(limit)).all()

    def rows_after(self, seq: int, limit: int, query: AuditQuery | None = None) -> list[ChainRow]:
        """In the order of the chain, with what is kept beside them."""
        statement = (
            select_rows(_ENTRY, _ASIDE.c.salt, _ASIDE.c.document)
            .select_from(_ENTRY.outerjoin(_ASIDE, _BESIDE))
            .where(*self._conditions(query or AuditQuery()), _ENTRY.c.seq > seq)
            .order_by(_ENTRY.c.seq)
            .limit(limit)
        )
        return [_chain_row(row) for row in self._session.execute(statement)]

    def asides(self, seqs: Sequence[int]) -> Mapping[int, Mapping[str, Any]]:
        if not seqs:
            return {}
        wanted = select(AuditAside).where(AuditAside.tenant_id == self._tenant_id, col(AuditAside.seq).in_(seqs))
        return {one.seq: one.document for one in self._session.exec(wanted)}

    def head(self) -> AuditHead | None:
        return self._session.get(AuditHead, self._tenant_id)

    def anchors(self) -> Sequence[AuditAnchor]:
        """Lowest place first."""
        statement = select(AuditAnchor).where(AuditAnchor.tenant_id == self._tenant_id)
        return self._session.exec(statement.order_by(col(AuditAnchor.seq), col(AuditAnchor.kind))).all()

    def add_anchor(self, anchor: AuditAnchor) -> None:
        self._session.add(anchor)

    def newest_before(self, moment: datetime) -> int:
        """The place of the last entry that, as all before it, is from before ``moment``; 0: there is none."""
        statement = (
            select(AuditEntry.seq)
            .where(AuditEntry.tenant_id == self._tenant_id, AuditEntry.at >= moment)
            .order_by(col(AuditEntry.seq))
            .limit(1)
        )
        first_kept = self._session.exec(statement).first()
        head = self.head()
        return (head.seq if head else 0) if first_kept is None else first_kept - 1

    def _conditions(self, query: AuditQuery) -> Iterator[Any]:
        yield _ENTRY.c.tenant_id == self._tenant_id
        if query.actors:
            yield _ENTRY.c.actor.in_(query.actors)
        if query.action is not None:
            yield _ENTRY.c.action == query.action
        if query.targets:
            yield _ENTRY.c.target.in_(query.targets)
        if query.since is not None:
            yield _ENTRY.c.at >= query.since
        if query.until is not None:
            yield _ENTRY.c.at < query.until


def tenants_with_audit(session: Session) -> Sequence[str]:
    return session.exec(select(AuditHead.tenant_id).order_by(AuditHead.tenant_id)).all()


def _chain_row(row: Row[Any]) -> ChainRow:
    return ChainRow(
        tenant_id=row.tenant_id,
        seq=row.seq,
        at_us=to_us(row.at),
        actor=row.actor,
        action=row.action,
        target=row.target,
        data=row.data,
        aside=row.aside,
        prev_hash=row.prev_hash,
        row_hash=row.row_hash,
        salt=row.salt or "",
        document=row.document,
    )
