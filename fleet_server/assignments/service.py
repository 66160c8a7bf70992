"""Giving devices and sites to technicians for a span of time, and taking them back. Every change is in the audit.

Who works by assignments sees nothing before the span and nothing after it (`fleet_server.assignments.narrowing`).
Whether the device or the site is the tenant's is asked of its own service before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from fleet_server.assignments.errors import (
    AssigneeUnusable,
    AssignmentInvalid,
    AssignmentNotFound,
    TooManyAssignments,
)
from fleet_server.assignments.models import Assignment
from fleet_server.assignments.repository import AssignmentFilters, AssignmentRepository
from fleet_server.audit.service import record
from fleet_server.audit.subjects import of_person
from fleet_server.auth.roles import Actor, Role
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.kit.times import text

LONGEST = timedelta(days=31)
FURTHEST = timedelta(days=92)
MAX_OPEN = 500  # of one technician


@dataclass(frozen=True, slots=True)
class Wish:
    """``assignee``: the name of a person or a token. Either a device or a site. ``begins_at`` None: now."""

    assignee: str
    device_id: str | None
    site_id: str | None
    begins_at: datetime | None
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Assigned:
    """``assignee``: the name; empty for somebody who is not known any more."""

    row: Assignment
    assignee: str


class AssignmentService:
    def __init__(self, session: Session, actor: Actor, now: datetime) -> None:
        self._session = session
        self._actor = actor
        self._now = now
        self._rows = AssignmentRepository(session, actor.tenant_id)

    def page(self, filters: AssignmentFilters, cursor: str | None, limit: int) -> Page[Assigned]:
        """Newest first."""
        before = decode_cursor(cursor, 1)[0] if cursor else None
        if not isinstance(before, str | None):
            raise CursorInvalid("cursor is not one of the list of assignments")
        rows = self._rows.newest_first(filters, before, limit + 1)
        items = self._named(rows[:limit])
        return Page(items, encode_cursor(items[-1].row.id) if len(rows) > limit else None)

    def assignees(self) -> Sequence[str]:
        """Names of those who work by assignments."""
        return sorted(self._assignees())

    def assign(self, wish: Wish) -> Assigned:
        """The device or the site is known to be there."""
        begins_at = wish.begins_at or self._now
        self._check(wish, begins_at)
        assignee_id, reference = self._assignee(wish.assignee)
        if self._rows.count_open(assignee_id, self._now) >= MAX_OPEN:
            raise TooManyAssignments(f"expected at most {MAX_OPEN} open assignments of one technician: end some first")
        row = Assignment(
            id=uuid7(self._now),
            tenant_id=self._actor.tenant_id,
            assignee_id=assignee_id,
            device_id=wish.device_id,
            site_id=wish.site_id,
            begins_at=begins_at,
            ends_at=wish.ends_at,
            created_by=self._actor.name[:120],
            created_at=self._now,
        )
        self._rows.add(row)
        span = {"from": text(begins_at), "to": text(wish.ends_at)}
        self._note("assignment_made", row, {"assignee": reference} | span)
        return Assigned(row, wish.assignee)

    def end(self, assignment_id: str) -> Assigned:
        """At once; one that has not begun never begins. What has ended stays as it is."""
        row = self._rows.get_locked(assignment_id)
        if row is None:
            raise AssignmentNotFound(assignment_id)
        if row.ends_at > self._now and row.ends_at > row.begins_at:
            row.ends_at = max(row.begins_at, self._now)
            self._session.add(row)
            self._session.flush()
            self._note("assignment_ended", row, {})
        return self._named([row])[0]

    def _check(self, wish: Wish, begins_at: datetime) -> None:
        if (wish.device_id is None) == (wish.site_id is None):
            raise AssignmentInvalid("expected either a device or a site")
        if not self._now < wish.ends_at or not begins_at < wish.ends_at <= begins_at + LONGEST:
            raise AssignmentInvalid(
                f"expected an end after the beginning and after now, at most {LONGEST.days} days on"
            )
        if begins_at > self._now + FURTHEST:
            raise AssignmentInvalid(f"expected a beginning within {FURTHEST.days} days")

    def _assignees(self) -> Mapping[str, tuple[str, str]]:
        """By name the id, and how the audit speaks of it. A person goes before a token of the same name."""
        found: dict[str, tuple[str, str]] = {}
        for role in Role:
            if role.works_by_assignments:
                found |= {name: (id_, name) for id_, name in self._rows.tokens(role.value)}
                found |= {name: (id_, of_person(id_)) for id_, name in self._rows.people(role.value)}
        return found

    def _assignee(self, name: str) -> tuple[str, str]:
        found = self._assignees().get(name)
        if found is None:
            raise AssigneeUnusable(f"expected the name of a technician who is let in, came {name[:64]!r}")
        return found

    def _named(self, rows: Sequence[Assignment]) -> list[Assigned]:
        names = self._rows.names({row.assignee_id for row in rows})
        return [Assigned(row, names.get(row.assignee_id, "")) for row in rows]

    def _note(self, deed: str, row: Assignment, data: Mapping[str, Any]) -> None:
        what = {"assignment": row.id, "of": "device" if row.device_id else "site"}
        record(self._session, self._actor, deed, row.device_id or row.site_id or "", {**what, **data}, now=self._now)
