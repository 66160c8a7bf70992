"""HTTP door of playbooks: which there are, which fit a device, and walking one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.devices.endpoints import DeviceIdPath, DeviceServiceDep, FaultServiceDep
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.kit.times import utc_now
from fleet_server.playbooks.repository import RunFilters
from fleet_server.playbooks.schemas import (
    OfferedListRead,
    PlaybookDetail,
    PlaybookRunAsked,
    PlaybookRunDetail,
    PlaybookRunRead,
    PlaybooksRead,
    offered_read,
    playbook_detail,
    playbook_read,
    run_detail,
    run_read,
)
from fleet_server.playbooks.service import PlaybookService
from fleet_server.request_session import SessionDep

router = APIRouter(prefix="/api/v1", tags=["playbooks"], dependencies=[needs(Permission.EXECUTIONS_READ)])

PlaybookPath = Annotated[str, Path(max_length=48, description="name of the playbook")]
WalkIdPath = Annotated[str, Path(max_length=64, description="id of the walk")]


async def playbook_service(
    request: Request, session: SessionDep, caller: CallerDep, devices: DeviceServiceDep
) -> PlaybookService:
    return PlaybookService(session, caller.tenant_id, devices, request.app.state.outbound)


PlaybookServiceDep = Annotated[PlaybookService, Depends(playbook_service)]


@router.get("/playbooks")
def list_playbooks(playbooks: PlaybookServiceDep) -> PlaybooksRead:
    """Those that there are, by name."""
    return PlaybooksRead(items=[playbook_read(one) for one in playbooks.definitions()])


@router.get("/playbooks/{playbook}")
def get_playbook(playbook: PlaybookPath, playbooks: PlaybookServiceDep) -> PlaybookDetail:
    """Steps, conditions, bounds and ends."""
    return playbook_detail(playbooks.definition(playbook))


@router.get("/devices/{device_id}/playbooks")
def list_offered_playbooks(
    device_id: DeviceIdPath, playbooks: PlaybookServiceDep, faults: FaultServiceDep, caller: CallerDep
) -> OfferedListRead:
    """Those that fit the device, first those that its open faults suggest to whoever may see them."""
    codes = [fault.code for fault in faults.open_of(device_id)] if caller.may(Permission.FAULTS_READ) else []
    return OfferedListRead(items=[offered_read(one) for one in playbooks.offered(device_id, codes)])


@router.post("/playbook-runs", status_code=201)
def start_playbook(asked: PlaybookRunAsked, playbooks: PlaybookServiceDep, caller: CallerDep) -> PlaybookRunDetail:
    """Walks it on a device: each step is an execution. Needs the permission of the highest kind of its steps. Refused
    with 409 while another is walked there.
    """
    return run_detail(playbooks.start(caller, asked.device, asked.playbook, dict(asked.variables), utc_now()))


@router.get("/playbook-runs")
def list_playbook_runs(
    playbooks: PlaybookServiceDep,
    device: Annotated[str | None, Query(max_length=64)] = None,
    playbook: Annotated[str | None, Query(max_length=48)] = None,
    open_only: Annotated[bool, Query(alias="open", description="only those that are not over")] = False,  # noqa: FBT002 - a query parameter is given by name
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[PlaybookRunRead]:
    """Walks, newest first."""
    page = playbooks.list(RunFilters(device, playbook, open_only), cursor, limit)
    return PageOf(items=[run_read(one) for one in page.items], next=page.next)


@router.get("/playbook-runs/{walk_id}")
def get_playbook_run(walk_id: WalkIdPath, playbooks: PlaybookServiceDep) -> PlaybookRunDetail:
    """Where it stands: each step so far with what it came to, and the end."""
    return run_detail(playbooks.get(walk_id))


@router.post("/playbook-runs/{walk_id}/cancel")
def cancel_playbook_run(walk_id: WalkIdPath, playbooks: PlaybookServiceDep, caller: CallerDep) -> PlaybookRunDetail:
    """The present step is told to end; once it has, the walk is over. Nothing that was done is undone."""
    return run_detail(playbooks.cancel(caller, walk_id, utc_now()))
