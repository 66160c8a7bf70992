"""Freezes: what is in force, what is planned, and declaring one, with the days on which others do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.access import require_of_installation
from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.console.frame import Frame, make_frame, page
from fleet_server.console.moments import Calendar, Moment
from fleet_server.freezes.models import Freeze
from fleet_server.freezes.occasions import Occasion, occasions_after
from fleet_server.freezes.service import FreezeService, Wish
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

router = APIRouter(include_in_schema=False)
_READ = console_needs(Permission.EXECUTIONS_READ)
_MANAGE = console_needs(Permission.FREEZES_MANAGE)
IdPath = Annotated[str, Path(max_length=64)]
_MIDNIGHT = time(0, 0)


@dataclass(frozen=True, slots=True)
class FreezeRow:
    id: str
    reason: str
    begins: Moment | None
    ends: Moment | None
    by: str
    ended_by: str
    of_all: bool
    is_in_force: bool
    has_ended: bool
    may_end: bool


@dataclass(frozen=True, slots=True)
class OccasionRow:
    key: str
    name: str
    first: str
    last: str
    is_chosen: bool


@router.get("/freezes", dependencies=[_READ])
def freezes_page(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    occasion: Annotated[str, Query(max_length=32)] = "",
    cursor: Annotated[str | None, Query(max_length=400)] = None,
) -> HTMLResponse:
    """``occasion``: whose days the form begins with."""
    frame = make_frame(request, session, "freezes")
    found = FreezeService(database, session.actor, frame.calendar.now).page(
        open_only=False, cursor=cursor, limit=DEFAULT_LIMIT
    )
    occasions = occasions_after(_today(frame))
    chosen = next((one for one in occasions if one.key == occasion), None)
    may = session.actor.may(Permission.FREEZES_MANAGE)
    return page(
        frame,
        "freezes.html",
        rows=[_row(one, frame.calendar, session.actor.tenant_id, may=may) for one in found.items],
        next=f"/freezes?cursor={found.next}" if found.next else "",
        may=may,
        may_all=may and _is_installations(request, session.actor.tenant_id, frame),
        occasions=[_occasion_row(one, chosen, frame.calendar) for one in occasions],
        chosen=None if chosen is None else _occasion_row(chosen, chosen, frame.calendar),
        today=_today(frame).isoformat(),
    )


@router.post("/freezes", dependencies=[_MANAGE])
def declare(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    first: Annotated[date, Form()],
    last: Annotated[date, Form()],
    reason: Annotated[str, Form(max_length=300)] = "",
    at: Annotated[time, Form()] = _MIDNIGHT,
    all_tenants: Annotated[str, Form(max_length=3)] = "",
) -> Response:
    """From ``at`` of the first day to the end of the last, by the clocks in China; what has passed is left out."""
    if all_tenants:
        require_of_installation(request, session.actor, Permission.TENANTS_MANAGE)
    zone, now = make_frame(request, session, "freezes").calendar.zone, utc_now()
    begins_at = max(now, datetime.combine(first, at, zone))
    ends_at = datetime.combine(last, _MIDNIGHT, zone) + timedelta(days=1)
    wish = Wish(begins_at, ends_at, reason, of_all=bool(all_tenants))
    FreezeService(database, session.actor, now).declare(wish)
    return _done(request)


@router.post("/freezes/{freeze_id}/end", dependencies=[_MANAGE])
def end(request: Request, session: ConsoleSessionDep, database: SessionDep, freeze_id: IdPath) -> Response:
    FreezeService(database, session.actor, utc_now()).end(freeze_id)
    return _done(request)


def _done(request: Request) -> Response:
    request.app.state.freezes.look_again()
    return RedirectResponse("/freezes", status_code=303)


def _today(frame: Frame) -> date:
    return frame.calendar.now.astimezone(frame.calendar.zone).date()


def _is_installations(request: Request, tenant_id: str, frame: Frame) -> bool:
    is_own = bool(tenant_id == request.app.state.settings.tenant)
    return is_own and frame.person is not None and frame.person.actor.may(Permission.TENANTS_MANAGE)


def _row(row: Freeze, calendar: Calendar, tenant_id: str, *, may: bool) -> FreezeRow:
    has_ended = row.ends_at <= calendar.now or row.ends_at <= row.begins_at
    return FreezeRow(
        id=row.id,
        reason=row.reason,
        begins=calendar.at(row.begins_at),
        ends=calendar.at(row.ends_at),
        by=row.created_by,
        ended_by=row.ended_by,
        of_all=row.of_all,
        is_in_force=row.begins_at <= calendar.now < row.ends_at,
        has_ended=has_ended,
        may_end=may and not has_ended and row.tenant_id == tenant_id,
    )


def _occasion_row(one: Occasion, chosen: Occasion | None, calendar: Calendar) -> OccasionRow:
    name = calendar.language.pick(one.name.zh, one.name.en)
    return OccasionRow(one.key, name, one.first.isoformat(), one.last.isoformat(), one == chosen)
