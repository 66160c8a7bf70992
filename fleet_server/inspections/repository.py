"""Every query on inspections, their rounds and turns. Made for one tenant; never commits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, func, insert, or_, update
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from fleet_server.inspections.models import Inspection, InspectionRound, InspectionTurn
from fleet_server.inspections.plans import Missed, PlanState, TurnState

_TURN = InspectionTurn.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_ROUND = InspectionRound.__table__  # type: ignore[attr-defined]  # as above
Key = tuple[str, str, str]  # inspection, local date, device


class InspectionRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def get(self, inspection_id: str, *, locked: bool = False) -> Inspection | None:
        statement = select(Inspection).where(
            col(Inspection.id) == inspection_id, col(Inspection.tenant_id) == self._tenant_id
        )
        return self._session.exec(statement.with_for_update() if locked else statement).first()

    def newest_first(self, states: Collection[PlanState], limit: int) -> list[Inspection]:
        statement = select(Inspection).where(
            col(Inspection.tenant_id) == self._tenant_id, col(Inspection.state).in_([state.value for state in states])
        )
        return list(self._session.exec(statement.order_by(col(Inspection.id).desc()).limit(limit)))

    def count_open(self) -> int:
        statement = select(func.count()).where(
            col(Inspection.tenant_id) == self._tenant_id, col(Inspection.state) != PlanState.ENDED.value
        )
        return self._session.exec(statement).one()

    def add(self, row: Inspection | InspectionRound) -> None:
        self._session.add(row)

    def round_of(self, inspection_id: str, local_date: str, timezone: str) -> InspectionRound | None:
        statement = self._rounds(inspection_id).where(
            col(InspectionRound.local_date) == local_date, col(InspectionRound.timezone) == timezone
        )
        return self._session.exec(statement).first()

    def rounds_since(self, inspection_id: str, begin: datetime) -> list[InspectionRound]:
        return list(self._session.exec(self._rounds(inspection_id).where(col(InspectionRound.opens_at) >= begin)))

    def newest_rounds(self, inspection_id: str, limit: int) -> list[InspectionRound]:
        order = (col(InspectionRound.opens_at).desc(), col(InspectionRound.timezone))
        return list(self._session.exec(self._rounds(inspection_id).order_by(*order).limit(limit)))

    def _rounds(self, inspection_id: str) -> SelectOfScalar[InspectionRound]:
        return select(InspectionRound).where(
            col(InspectionRound.inspection_id) == inspection_id, col(InspectionRound.tenant_id) == self._tenant_id
        )

    def add_turns(self, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            named = [{**row, "tenant_id": self._tenant_id} for row in rows]
            self._session.connection().execute(insert(_TURN), named)

    def due(self, now: datetime, limit: int) -> list[InspectionTurn]:
        """Waiting ones whose moment has come and whose window is open, those that wait longest first."""
        statement = select(InspectionTurn).where(
            col(InspectionTurn.state) == TurnState.WAITING.value,
            col(InspectionTurn.due_at) <= now,
            col(InspectionTurn.closes_at) > now,
            col(InspectionTurn.tenant_id) == self._tenant_id,
        )
        return list(self._session.exec(statement.order_by(col(InspectionTurn.due_at)).limit(limit)))

    def asked(self, after: tuple[datetime, str], limit: int) -> list[InspectionTurn]:
        due_at, device_id = after
        same = and_(col(InspectionTurn.due_at) == due_at, col(InspectionTurn.device_id) > device_id)
        statement = select(InspectionTurn).where(
            col(InspectionTurn.state) == TurnState.ASKED.value,
            or_(col(InspectionTurn.due_at) > due_at, same),
            col(InspectionTurn.tenant_id) == self._tenant_id,
        )
        order = (col(InspectionTurn.due_at), col(InspectionTurn.device_id))
        return list(self._session.exec(statement.order_by(*order).limit(limit)))

    def save_turn(self, key: Key, was: TurnState, values: dict[str, Any]) -> bool:
        """False when somebody else has moved it meanwhile: then nothing was changed."""
        inspection_id, local_date, device_id = key
        statement = (
            update(_TURN)
            .where(
                _TURN.c.inspection_id == inspection_id,
                _TURN.c.local_date == local_date,
                _TURN.c.device_id == device_id,
                _TURN.c.tenant_id == self._tenant_id,
                _TURN.c.state == was.value,
            )
            .values(values)
        )
        return int(self._session.connection().execute(statement).rowcount) == 1

    def has_lapsed(self, now: datetime) -> bool:
        return self._session.connection().execute(self._lapsed(now, 1)).first() is not None

    def _lapsed(self, now: datetime, limit: int) -> Any:
        return (
            sa_select(_TURN.c.inspection_id, _TURN.c.local_date, _TURN.c.device_id)
            .where(
                _TURN.c.state == TurnState.WAITING.value,
                _TURN.c.due_at <= now,  # never after the end, and in the index
                _TURN.c.closes_at <= now,
                _TURN.c.tenant_id == self._tenant_id,
            )
            .order_by(_TURN.c.due_at)
            .limit(limit)
        )

    def miss_lapsed(self, now: datetime, limit: int) -> int:
        """Those that waited until their window closed. What kept one that was looked at stands in it already."""
        found = self._session.connection().execute(self._lapsed(now, limit)).all()
        for row in found:
            statement = (
                update(_TURN)
                .where(
                    _TURN.c.inspection_id == row.inspection_id,
                    _TURN.c.local_date == row.local_date,
                    _TURN.c.device_id == row.device_id,
                    _TURN.c.tenant_id == self._tenant_id,
                )
                .values(
                    state=TurnState.MISSED.value,
                    ended_at=_TURN.c.closes_at,
                    reason=func.coalesce(func.nullif(_TURN.c.reason, ""), Missed.SERVER_AWAY.value),
                )
            )
            self._session.connection().execute(statement)
        return len(found)

    def miss_waiting(self, inspection_id: str, now: datetime, reason: Missed) -> int:
        """All of an inspection that have not been asked."""
        statement = (
            update(_TURN)
            .where(
                _TURN.c.inspection_id == inspection_id,
                _TURN.c.state == TurnState.WAITING.value,
                _TURN.c.tenant_id == self._tenant_id,
            )
            .values(state=TurnState.MISSED.value, ended_at=now, reason=reason.value)
        )
        return int(self._session.connection().execute(statement).rowcount)

    def counts(self, inspection_id: str, local_dates: Collection[str]) -> list[tuple[str, str, str, str, int]]:
        """Local date, time zone, state, outcome or reason, how many."""
        word = func.coalesce(func.nullif(_TURN.c.outcome, ""), _TURN.c.reason)
        statement = (
            sa_select(_TURN.c.local_date, _TURN.c.timezone, _TURN.c.state, word, func.count())
            .where(
                _TURN.c.inspection_id == inspection_id,
                _TURN.c.local_date.in_(list(local_dates)),
                _TURN.c.tenant_id == self._tenant_id,
            )
            .group_by(_TURN.c.local_date, _TURN.c.timezone, _TURN.c.state, word)
        )
        return [(row[0], row[1], row[2], row[3], row[4]) for row in self._session.execute(statement)]

    def turns(self, inspection_id: str, local_date: str, result: str, after: str, limit: int) -> list[InspectionTurn]:
        """In the order of devices. ``result``: an outcome, or a state; "" all."""
        statement = select(InspectionTurn).where(
            col(InspectionTurn.inspection_id) == inspection_id,
            col(InspectionTurn.local_date) == local_date,
            col(InspectionTurn.tenant_id) == self._tenant_id,
            col(InspectionTurn.device_id) > after,
        )
        if result:
            is_state = result in {state.value for state in TurnState}
            statement = statement.where(col(InspectionTurn.state if is_state else InspectionTurn.outcome) == result)
        return list(self._session.exec(statement.order_by(col(InspectionTurn.device_id)).limit(limit)))

    def of_device(self, device_id: str, before: datetime | None, limit: int) -> list[tuple[InspectionTurn, Inspection]]:
        """Newest first."""
        statement = (
            select(InspectionTurn, Inspection)
            .join(Inspection, col(Inspection.id) == col(InspectionTurn.inspection_id))
            .where(
                col(InspectionTurn.device_id) == device_id,
                col(InspectionTurn.tenant_id) == self._tenant_id,
                col(Inspection.tenant_id) == self._tenant_id,
            )
        )
        if before is not None:
            statement = statement.where(col(InspectionTurn.due_at) < before)
        rows = self._session.exec(statement.order_by(col(InspectionTurn.due_at).desc()).limit(limit))
        return [(turn, inspection) for turn, inspection in rows]

    def forget(self, before: datetime, limit: int) -> int:
        """Rounds that closed before, with their turns: about ``limit`` rows."""
        oldest = (
            sa_select(_ROUND.c.inspection_id, _ROUND.c.local_date, _ROUND.c.timezone)
            .where(_ROUND.c.tenant_id == self._tenant_id, _ROUND.c.opens_at < before)
            .order_by(_ROUND.c.opens_at)
            .limit(1)
        )
        connection = self._session.connection()
        row = connection.execute(oldest).first()
        if row is None:
            return 0
        of_round = and_(
            _TURN.c.inspection_id == row.inspection_id,
            _TURN.c.local_date == row.local_date,
            _TURN.c.timezone == row.timezone,
            _TURN.c.tenant_id == self._tenant_id,
        )
        some = sa_select(_TURN.c.device_id).where(of_round).order_by(_TURN.c.device_id).limit(limit)
        gone = connection.execute(delete(_TURN).where(of_round, _TURN.c.device_id.in_(some))).rowcount
        if gone < limit:
            connection.execute(
                delete(_ROUND).where(
                    _ROUND.c.inspection_id == row.inspection_id,
                    _ROUND.c.local_date == row.local_date,
                    _ROUND.c.timezone == row.timezone,
                    _ROUND.c.tenant_id == self._tenant_id,
                )
            )
        return int(gone) + 1
