"""Every query on walks of playbooks and their steps. Made for one tenant; never commits.

Whoever moves a walk holds its device first (`fleet_server.db`), then its row.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from fleet_server.assignments.narrowing import assigned_devices
from fleet_server.playbooks.models import PlaybookRun, PlaybookStep


@dataclass(frozen=True, slots=True)
class RunFilters:
    device: str | None = None
    playbook: str | None = None
    open_only: bool = False


class PlaybookRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def get(self, run_id: str, *, locked: bool = False) -> PlaybookRun | None:
        statement = self._runs().where(col(PlaybookRun.id) == run_id)
        if locked:
            # Whatever was read of it before, it counts as it is now.
            statement = statement.with_for_update().execution_options(populate_existing=True)
        return self._session.exec(statement).first()

    def newest_first(self, filters: RunFilters, after: tuple[datetime, str] | None, limit: int) -> list[PlaybookRun]:
        statement = self._runs()
        if filters.device is not None:
            statement = statement.where(col(PlaybookRun.device_id) == filters.device)
        if filters.playbook is not None:
            statement = statement.where(col(PlaybookRun.playbook) == filters.playbook)
        if filters.open_only:
            statement = statement.where(col(PlaybookRun.is_open).is_(True))
        if after is not None:
            started_at, run_id = after
            same = and_(col(PlaybookRun.started_at) == started_at, col(PlaybookRun.id) < run_id)
            statement = statement.where(or_(col(PlaybookRun.started_at) < started_at, same))
        order = (col(PlaybookRun.started_at).desc(), col(PlaybookRun.id).desc())
        return list(self._session.exec(statement.order_by(*order).limit(limit)))

    def open_on(self, device_id: str) -> PlaybookRun | None:
        statement = self._runs().where(col(PlaybookRun.device_id) == device_id, col(PlaybookRun.is_open).is_(True))
        return self._session.exec(statement).first()

    def open_after(self, after: str, limit: int) -> list[tuple[str, datetime | None, str | None]]:
        """In the order of ids: the walk, when it is due, the execution of its present step."""
        newest = (
            select(PlaybookStep.run_id, func.max(col(PlaybookStep.number)).label("number"))
            .where(col(PlaybookStep.tenant_id) == self._tenant_id)
            .group_by(col(PlaybookStep.run_id))
            .subquery()
        )
        statement = (
            select(PlaybookRun.id, PlaybookRun.due_at, PlaybookStep.execution_id)
            .select_from(PlaybookRun)
            .join(newest, newest.c.run_id == col(PlaybookRun.id), isouter=True)
            .join(
                PlaybookStep,
                and_(
                    col(PlaybookStep.run_id) == newest.c.run_id,
                    col(PlaybookStep.number) == newest.c.number,
                    col(PlaybookStep.tenant_id) == self._tenant_id,
                ),
                isouter=True,
            )
            .where(
                col(PlaybookRun.tenant_id) == self._tenant_id,
                col(PlaybookRun.is_open).is_(True),
                col(PlaybookRun.id) > after,
            )
            .order_by(col(PlaybookRun.id))
            .limit(limit)
        )
        return [(row[0], row[1], row[2]) for row in self._session.exec(statement)]

    def steps(self, run_ids: Collection[str]) -> list[PlaybookStep]:
        """In the order in which they were begun."""
        statement = select(PlaybookStep).where(
            col(PlaybookStep.run_id).in_(list(run_ids)),
            col(PlaybookStep.tenant_id) == self._tenant_id,
            *assigned_devices(self._session, col(PlaybookStep.device_id)),
        )
        return list(self._session.exec(statement.order_by(col(PlaybookStep.run_id), col(PlaybookStep.number))))

    def add(self, row: PlaybookRun | PlaybookStep) -> None:
        self._session.add(row)
        self._session.flush()

    def _runs(self) -> SelectOfScalar[PlaybookRun]:
        return select(PlaybookRun).where(
            col(PlaybookRun.tenant_id) == self._tenant_id,
            *assigned_devices(self._session, col(PlaybookRun.device_id)),
        )
