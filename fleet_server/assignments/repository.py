"""Every query on assignments. Made for one tenant; never commits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from fleet_server.assignments.models import Assignment
from fleet_server.auth.models import ApiToken, User


@dataclass(frozen=True, slots=True)
class AssignmentFilters:
    """``ends_after``: only those that are in force then or later."""

    assignee_id: str | None = None
    device_id: str | None = None
    site_id: str | None = None
    ends_after: datetime | None = None


class AssignmentRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def add(self, row: Assignment) -> None:
        self._session.add(row)
        self._session.flush()

    def get_locked(self, assignment_id: str) -> Assignment | None:
        mine = (Assignment.id == assignment_id, Assignment.tenant_id == self._tenant_id)
        return self._session.exec(select(Assignment).where(*mine).with_for_update()).first()

    def newest_first(self, filters: AssignmentFilters, before: str | None, limit: int) -> list[Assignment]:
        """``before``: an id."""
        statement = select(Assignment).where(Assignment.tenant_id == self._tenant_id)
        equal = (
            (Assignment.assignee_id, filters.assignee_id),
            (Assignment.device_id, filters.device_id),
            (Assignment.site_id, filters.site_id),
        )
        for column, value in equal:
            if value is not None:
                statement = statement.where(column == value)
        if filters.ends_after is not None:
            statement = statement.where(Assignment.ends_at > filters.ends_after)
        if before is not None:
            statement = statement.where(Assignment.id < before)
        return list(self._session.exec(statement.order_by(col(Assignment.id).desc()).limit(limit)))

    def count_open(self, assignee_id: str, now: datetime) -> int:
        mine = (Assignment.tenant_id == self._tenant_id, Assignment.assignee_id == assignee_id)
        return self._session.exec(select(func.count()).where(*mine, Assignment.ends_at > now)).one()

    def people(self, role: str) -> list[tuple[str, str]]:
        """Ids and names of those who are let in with this role, by name."""
        mine = (User.tenant_id == self._tenant_id, User.role == role, col(User.disabled_at).is_(None))
        return list(self._session.exec(select(User.id, User.name).where(*mine).order_by(User.name)))

    def tokens(self, role: str) -> list[tuple[str, str]]:
        """As `people`."""
        mine = (ApiToken.tenant_id == self._tenant_id, ApiToken.role == role, col(ApiToken.revoked_at).is_(None))
        return list(self._session.exec(select(ApiToken.id, ApiToken.name).where(*mine).order_by(ApiToken.name)))

    def names(self, ids: set[str]) -> dict[str, str]:
        """Of people and tokens, also of those that are let in no more."""
        people = select(User.id, User.name).where(User.tenant_id == self._tenant_id, col(User.id).in_(ids))
        tokens = select(ApiToken.id, ApiToken.name).where(
            ApiToken.tenant_id == self._tenant_id, col(ApiToken.id).in_(ids)
        )
        return {**dict(self._session.exec(tokens).all()), **dict(self._session.exec(people).all())}
