"""Declaring freezes, ahead of time or at once, and ending them early. Every change is in the audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor
from fleet_server.freezes.errors import FreezeInvalid, FreezeNotFound, FreezeOfAll, TooManyFreezes
from fleet_server.freezes.models import Freeze
from fleet_server.freezes.repository import FreezeRepository
from fleet_server.freezes.rules import FURTHEST, LONGEST
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.kit.times import text
from protocol.redaction import scrub

MAX_OPEN = 50
MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class Wish:
    """``begins_at`` None: now. ``of_all``: of every tenant, which only the operator of the installation may."""

    begins_at: datetime | None
    ends_at: datetime
    reason: str
    of_all: bool = False


class FreezeService:
    def __init__(self, session: Session, actor: Actor, now: datetime) -> None:
        self._session = session
        self._actor = actor
        self._now = now
        self._rows = FreezeRepository(session, actor.tenant_id)

    def page(self, *, open_only: bool, cursor: str | None, limit: int) -> Page[Freeze]:
        """Newest first, those of all tenants among them."""
        before = decode_cursor(cursor, 1)[0] if cursor else None
        if not isinstance(before, str | None):
            raise CursorInvalid("cursor is not one of the list of freezes")
        rows = self._rows.newest_first(self._now if open_only else None, before, limit + 1)
        items = rows[:limit]
        return Page(items, encode_cursor(items[-1].id) if len(rows) > limit else None)

    def declare(self, wish: Wish) -> Freeze:
        """Whether the actor may declare one of all tenants is asked of the door before."""
        begins_at = wish.begins_at or self._now
        reason = scrub(" ".join(wish.reason.split())).text[:MAX_REASON]
        self._check(begins_at, wish.ends_at, reason)
        if self._rows.count_open(self._now) >= MAX_OPEN:
            raise TooManyFreezes(f"expected at most {MAX_OPEN} freezes that have not ended: end one that is not needed")
        row = Freeze(
            id=uuid7(self._now),
            tenant_id=self._actor.tenant_id,
            of_all=wish.of_all,
            begins_at=begins_at,
            ends_at=wish.ends_at,
            reason=reason,
            created_by=self._actor.name[:120],
            created_at=self._now,
        )
        self._rows.add(row)
        self._note("freeze_declared", row)
        return row

    def end(self, freeze_id: str) -> Freeze:
        """At once; one that has not begun never begins. What has ended stays as it is."""
        seen = self._rows.get(freeze_id)
        if seen is None:
            raise FreezeNotFound(freeze_id)
        row = self._rows.get_own_locked(freeze_id)
        if row is None:
            raise FreezeOfAll("the operator of the installation declared this for all tenants, and alone ends it")
        if row.ends_at > self._now and row.ends_at > row.begins_at:
            row.ends_at = max(row.begins_at, self._now)
            row.ended_by = self._actor.name[:120]
            self._session.add(row)
            self._session.flush()
            self._note("freeze_ended", row)
        return row

    def _check(self, begins_at: datetime, ends_at: datetime, reason: str) -> None:
        if not reason:
            raise FreezeInvalid("reason: expected 1 to 300 characters, came none")
        if not self._now < ends_at or not begins_at < ends_at <= begins_at + LONGEST:
            raise FreezeInvalid(
                f"to: expected a moment after now and after the beginning, at most {LONGEST.days} days on"
            )
        if begins_at > self._now + FURTHEST:
            raise FreezeInvalid(f"from: expected a moment within {FURTHEST.days} days")

    def _note(self, deed: str, row: Freeze) -> None:
        data = {"from": text(row.begins_at), "to": text(row.ends_at), "of_all": row.of_all}
        # What somebody typed may name people: it can be erased.
        record(self._session, self._actor, deed, row.id, data, personal={"reason": row.reason}, now=self._now)
