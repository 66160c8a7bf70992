"""HTTP door of freezes: declaring, ending, and what holds or will hold."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Path, Query, Request

from fleet_server.access import CallerDep, needs, require_of_installation
from fleet_server.auth.roles import Permission
from fleet_server.freezes.occasions import occasions_after
from fleet_server.freezes.schemas import (
    FreezeAsked,
    FreezeRead,
    OccasionsRead,
    freeze_read,
    occasion_read,
)
from fleet_server.freezes.service import FreezeService
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

# Where the occasions are kept.
ZONE = ZoneInfo("Asia/Shanghai")
router = APIRouter(prefix="/api/v1/freezes", tags=["freezes"])
_READ = [needs(Permission.EXECUTIONS_READ)]
_MANAGE = [needs(Permission.FREEZES_MANAGE)]
FreezeIdPath = Annotated[str, Path(max_length=64, description="id of the freeze")]


async def freeze_service(session: SessionDep, caller: CallerDep) -> FreezeService:
    return FreezeService(session, caller, utc_now())


FreezeServiceDep = Annotated[FreezeService, Depends(freeze_service)]


@router.get("", dependencies=_READ)
def list_freezes(
    freezes: FreezeServiceDep,
    is_open: Annotated[bool, Query(alias="open", description="only those that have not ended")] = False,  # noqa: FBT002 - a query parameter is given by name
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[FreezeRead]:
    """Newest first, with those that the operator of the installation declared for all tenants."""
    now = utc_now()
    page = freezes.page(open_only=is_open, cursor=cursor, limit=limit)
    return PageOf(items=[freeze_read(row, now) for row in page.items], next=page.next)


@router.post("", status_code=201, dependencies=_MANAGE)
def declare_freeze(request: Request, freezes: FreezeServiceDep, caller: CallerDep, asked: FreezeAsked) -> FreezeRead:
    """While it is in force nothing starts that is planned for many devices and changes one. 45 days at most."""
    if asked.all_tenants:
        require_of_installation(request, caller, Permission.TENANTS_MANAGE)
    made = freezes.declare(asked.wish())
    request.app.state.freezes.look_again()
    return freeze_read(made, utc_now())


@router.get("/occasions", dependencies=_READ)
def list_occasions() -> OccasionsRead:
    """When acquirers in China usually freeze, of the next twelve months, next first: to begin with, not a rule."""
    found = occasions_after(utc_now().astimezone(ZONE).date())
    return OccasionsRead(items=[occasion_read(one, *one.span(ZONE)) for one in found])


@router.post("/{freeze_id}/end", dependencies=_MANAGE)
def end_freeze(request: Request, freezes: FreezeServiceDep, freeze_id: FreezeIdPath) -> FreezeRead:
    """At once; one that has not begun never begins. Ending it again changes nothing."""
    ended = freezes.end(freeze_id)
    request.app.state.freezes.look_again()
    return freeze_read(ended, utc_now())
