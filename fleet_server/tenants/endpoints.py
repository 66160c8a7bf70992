"""HTTP door of tenants, for operators of the installation: which there are, and a look into one of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from fleet_server.access import CallerDep, needs_of_installation
from fleet_server.auth.roles import Permission
from fleet_server.kit.schemas import PageOf
from fleet_server.kit.times import utc_now
from fleet_server.tenants.schemas import TenantRead, VisitAsked, VisitMade
from fleet_server.tenants.visiting import Visits

router = APIRouter(prefix="/api/v1", tags=["tenants"], dependencies=[needs_of_installation(Permission.TENANTS_MANAGE)])


def visits(request: Request) -> Visits:
    return Visits(request.app.state.engine, request.app.state.settings.tenant)


VisitsDep = Annotated[Visits, Depends(visits)]


@router.get("/tenants")
def list_tenants(visits: VisitsDep, caller: CallerDep) -> PageOf[TenantRead]:
    """By id."""
    found = visits.tenants(caller)
    return PageOf(
        items=[
            TenantRead(id=one.id, name=one.name, created_at=one.created_at, suspended_at=one.suspended_at)
            for one in found
        ],
        next=None,
    )


@router.post("/visits", status_code=201)
def visit(visits: VisitsDep, caller: CallerDep, asked: VisitAsked) -> VisitMade:
    """A token for an hour that looks into another tenant, runs nothing there, and stands in that tenant's audit."""
    made = visits.token(caller, asked.tenant, utc_now())
    return VisitMade(token=made.token, tenant=made.tenant_id, until=made.until)
