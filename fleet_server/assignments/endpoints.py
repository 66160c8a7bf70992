"""HTTP door of assignments: which technician sees which devices, and how long."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from fleet_server.access import CallerDep, needs
from fleet_server.assignments.repository import AssignmentFilters
from fleet_server.assignments.schemas import AssignmentAsked, AssignmentRead, assignment_read
from fleet_server.assignments.service import AssignmentService
from fleet_server.auth.roles import Permission
from fleet_server.devices.endpoints import DeviceServiceDep
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep
from fleet_server.sites.endpoints import SiteServiceDep

router = APIRouter(
    prefix="/api/v1/assignments", tags=["assignments"], dependencies=[needs(Permission.ASSIGNMENTS_MANAGE)]
)
AssignmentIdPath = Annotated[str, Path(max_length=64, description="id of the assignment")]


def assignment_service(session: SessionDep, caller: CallerDep) -> AssignmentService:
    return AssignmentService(session, caller, utc_now())


AssignmentServiceDep = Annotated[AssignmentService, Depends(assignment_service)]


@router.get("")
def list_assignments(
    assignments: AssignmentServiceDep,
    device: Annotated[str | None, Query(max_length=64)] = None,
    site: Annotated[str | None, Query(max_length=64)] = None,
    is_open: Annotated[bool, Query(alias="open", description="only those that have not ended")] = False,  # noqa: FBT002 - a query parameter is given by name
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[AssignmentRead]:
    """Newest first."""
    filters = AssignmentFilters(device_id=device, site_id=site, ends_after=utc_now() if is_open else None)
    page = assignments.page(filters, cursor, limit)
    return PageOf(items=[assignment_read(one) for one in page.items], next=page.next)


@router.post("", status_code=201)
def assign(
    assignments: AssignmentServiceDep, devices: DeviceServiceDep, sites: SiteServiceDep, asked: AssignmentAsked
) -> AssignmentRead:
    """The technician sees the device, or all that stands at the site, from `from` to `to`: 31 days at most."""
    if asked.device is not None:
        devices.require(asked.device)
    if asked.site is not None:
        sites.get(asked.site)
    return assignment_read(assignments.assign(asked.wish()))


@router.post("/{assignment_id}/end")
def end_assignment(assignments: AssignmentServiceDep, assignment_id: AssignmentIdPath) -> AssignmentRead:
    """At once, also for streams that are open. Ending it again changes nothing."""
    return assignment_read(assignments.end(assignment_id))
