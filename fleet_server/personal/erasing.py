"""Erasing somebody: asked for in one transaction, done piece by piece by the scheduler or the command that asked.

History keeps its shape: who did something becomes a label that the audit shows too, a mention in a text likewise. Of
the audit's chain nothing is changed, it names nobody; the rows beside it go, and it verifies as before.

Invariant: the ledger says that somebody is to be erased before the first row is touched; an erasure that was cut short
goes on where it was; at its end neither table nor SQLite's log holds what was erased.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, delete, select, update
from sqlmodel import Session, col
from sqlmodel import select as select_model

from fleet_server.approvals.models import Approval, ShiftPermit
from fleet_server.audit.service import SYSTEM, record
from fleet_server.audit.subjects import of_actor
from fleet_server.auth.people import People
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading, transaction
from fleet_server.kit.identifiers import uuid7
from fleet_server.migrations.tables import metadata
from fleet_server.personal.errors import StillNeeded
from fleet_server.personal.ledger import Ledger, Line
from fleet_server.personal.matching import Matcher
from fleet_server.personal.models import Erasure
from fleet_server.personal.scanning import columns, order, piece
from fleet_server.personal.subjects import Kind, Subject

# Of these keys hold no name, and rows are found again by nothing else.
_LEDGER_KINDS = {Kind.SITE, Kind.WORDS}
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """``is_done``: of this one; ``table``: where it is."""

    erasure: Erasure
    table: str
    is_done: bool


def ask(session: Session, actor: Actor, subject: Subject, now: datetime) -> Erasure:
    """Raises ``StillNeeded`` while something that is in force names them; for a person what `People` says."""
    if subject.kind is Kind.PERSON:
        People(session, actor, now).require_erasable(subject.id)
    _refuse_while_in_force(session, subject, now)
    return wanted(session, actor, subject, now, erasure_id=uuid7(now), now=now)


def wanted(
    session: Session, actor: Actor, subject: Subject, asked_at: datetime, *, erasure_id: str, now: datetime
) -> Erasure:
    """Written down as asked for, whatever is in force."""
    erasure = Erasure(
        id=erasure_id,
        tenant_id=subject.tenant_id,
        subject=subject.reference,
        label=subject.label,
        words=list(subject.words),
        asked_by=of_actor(actor)[:120],
        asked_at=asked_at,
        place={"name": subject.name, "table": 0, "after": []},
        counts={},
    )
    session.add(erasure)
    record(session, actor, "personal_erasure_asked", subject.reference, {"erasure": erasure.id}, now=now)
    return erasure


class Eraser:
    """``clock`` reads the time."""

    def __init__(self, engine: Engine, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        metadata()
        self._engine = engine
        self._ledger = ledger
        self._clock = clock

    def step(self) -> Progress | None:
        """One piece of the oldest that is not done. None: there is nothing to do."""
        with reading(self._engine) as session:
            found = select_model(Erasure).where(col(Erasure.done_at).is_(None)).order_by(col(Erasure.id)).limit(1)
            erasure = session.exec(found).first()
        return None if erasure is None else self._go_on(erasure)

    def finish(self, erasure_id: str, tell: Callable[[Progress], None]) -> dict[str, int]:
        """All pieces of this one; rows by table."""
        while True:
            with reading(self._engine) as session:
                erasure = session.get_one(Erasure, erasure_id)
            if erasure.done_at is not None:
                return erasure.counts
            tell(self._go_on(erasure))

    def _go_on(self, erasure: Erasure) -> Progress:
        number, after = erasure.place["table"], erasure.place["after"]
        if number == 0 and not after:
            self._ledger.append(_line(erasure))
        if number < len(order()):
            return self._erase_piece(erasure, number, after)
        return self._end(erasure)

    def _erase_piece(self, erasure: Erasure, number: int, after: list[Any]) -> Progress:
        name, subject = order()[number], subject_in(erasure)
        matcher = Matcher(name, subject, is_sqlite=self._engine.dialect.name == "sqlite")
        with reading(self._engine) as session:
            found = piece(session, matcher, after)
        touched = []
        with transaction(self._engine) as session:
            touched = [row for row in found.rows if _without(session, matcher, row)]
            place = {"name": subject.name, "table": number, "after": found.after}
            if found.after is None:
                place |= {"table": number + 1, "after": []}
            counts = dict(erasure.counts)
            if touched:
                counts[name] = counts.get(name, 0) + len(touched)
            self._set(session, erasure, place=place, counts=counts)
        if touched and subject.kind in _LEDGER_KINDS and name != "site":
            keys = [[row[column.name] for column in matcher.key] for row in touched]
            self._ledger.append(_line(erasure, name, keys))
        return Progress(erasure, name, is_done=False)

    def _end(self, erasure: Erasure) -> Progress:
        """The words go, then what the database's log still holds of anything; only then it is done."""
        if erasure.words or erasure.place["name"]:
            with transaction(self._engine) as session:
                self._set(session, erasure, words=[], place={**erasure.place, "name": ""})
        if not empty_log(self._engine):
            return Progress(erasure, "", is_done=False)
        now = self._clock()
        system = Actor("", SYSTEM, Role.OPERATOR, erasure.tenant_id, ActorKind.PERSON)
        with transaction(self._engine) as session:
            self._set(session, erasure, done_at=now)
            data = {"erasure": erasure.id, "rows": dict(erasure.counts)}
            record(session, system, "personal_erased", erasure.subject, data, now=now)
        return Progress(erasure, "", is_done=True)

    @staticmethod
    def _set(session: Session, erasure: Erasure, **values: Any) -> None:
        session.execute(update(Erasure).where(col(Erasure.id) == erasure.id).values(**values))


def newest(session: Session, tenant_id: str, limit: int) -> Sequence[Erasure]:
    mine = select_model(Erasure).where(Erasure.tenant_id == tenant_id)
    return session.exec(mine.order_by(col(Erasure.id).desc()).limit(limit)).all()


def subject_in(erasure: Erasure) -> Subject:
    kind, _, id_ = erasure.subject.partition(":")
    return Subject(Kind(kind), id_, erasure.tenant_id, tuple(erasure.words), name=str(erasure.place["name"]))


def empty_log(engine: Engine) -> bool:
    """SQLite's log holds pages as they were until it begins anew; false while a reader keeps it. PostgreSQL forgets old
    rows by its own vacuum.
    """
    if engine.dialect.name != "sqlite":
        return True
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        busy: int = connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return busy == 0


def _line(erasure: Erasure, table: str = "", rows: Sequence[list[Any]] = ()) -> Line:
    return Line(erasure.id, erasure.tenant_id, erasure.subject, erasure.asked_at, table, list(rows))


def _without(session: Session, matcher: Matcher, candidate: Any) -> bool:
    """Whether the row was changed or went. It is read again, held: it may be another by now."""
    table, mine = matcher.table, [column == candidate[column.name] for column in matcher.key]
    here: ColumnElement[bool] = and_(*mine, table.c.tenant_id == matcher.subject.tenant_id)
    found = session.execute(select(*columns(matcher)).where(here).with_for_update(of=table)).mappings().first()
    if found is None:
        return False
    row = dict(found)
    if matcher.goes(row):
        session.execute(delete(table).where(here))
        return True
    values = matcher.without(row)
    if values:
        session.execute(update(table).where(here).values(**values))
    return bool(values)


def _refuse_while_in_force(session: Session, subject: Subject, now: datetime) -> None:
    open_ones = select_model(Approval).where(Approval.tenant_id == subject.tenant_id, col(Approval.is_open).is_(True))
    permits = select_model(ShiftPermit).where(
        ShiftPermit.tenant_id == subject.tenant_id,
        col(ShiftPermit.withdrawn_at).is_(None),
        ShiftPermit.not_after > now,
    )
    approvals_named = [one.execution_id for one in session.exec(open_ones) if _names("approval", subject, one)]
    permits_named = [one.id for one in session.exec(permits) if _names("shift_permit", subject, one)]
    named = [f"run {one}" for one in approvals_named] + [f"permit {one}" for one in permits_named]
    if named:
        shown = ", ".join(named[:_SHOWN])
        raise StillNeeded(f"{len(named)} documents in force name them: end or withdraw these first: {shown}")


def _names(table: str, subject: Subject, row: Approval | ShiftPermit) -> bool:
    return bool(Matcher(table, subject, is_sqlite=True).mentioned(row.model_dump()))
