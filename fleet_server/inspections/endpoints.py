"""HTTP door of inspections: arranging them, their rounds, and what came of them on each device."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.devices.endpoints import DeviceIdPath, DeviceServiceDep
from fleet_server.inspections.schemas import (
    DeviceTurnRead,
    InspectionAsked,
    InspectionChangeAsked,
    InspectionRead,
    InspectionsRead,
    PreviewRead,
    RoundsRead,
    TurnRead,
    device_turn_read,
    inspection_read,
    preview_read,
    round_read,
    turn_read,
)
from fleet_server.inspections.service import InspectionService
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

router = APIRouter(prefix="/api/v1", tags=["inspections"], dependencies=[needs(Permission.EXECUTIONS_READ)])
_READ = [needs(Permission.INSPECTIONS_READ)]
_MANAGE = [needs(Permission.INSPECTIONS_MANAGE)]

InspectionIdPath = Annotated[str, Path(max_length=64, description="id of the inspection")]
DatePath = Annotated[str, Path(pattern=r"^\d{4}-\d{2}-\d{2}$", description="local date of the round")]


async def inspection_service(session: SessionDep, caller: CallerDep, devices: DeviceServiceDep) -> InspectionService:
    return InspectionService(session, caller.tenant_id, devices)


InspectionServiceDep = Annotated[InspectionService, Depends(inspection_service)]


@router.get("/inspections", dependencies=_READ)
def list_inspections(
    inspections: InspectionServiceDep,
    ended: Annotated[bool, Query(description="those that ended instead")] = False,  # noqa: FBT002 - a query parameter is given by name
) -> InspectionsRead:
    """Newest first, at most 200."""
    return InspectionsRead(items=[inspection_read(row) for row in inspections.list(ended=ended)])


@router.post("/inspections", status_code=201, dependencies=_MANAGE)
def make_inspection(inspections: InspectionServiceDep, caller: CallerDep, asked: InspectionAsked) -> InspectionRead:
    """Devices are asked from the next window that opens, each at its own moment in it, if its link is online then."""
    return inspection_read(inspections.make(caller, asked.plan(), utc_now()))


@router.post("/inspections/preview", dependencies=_MANAGE)
def preview_inspection(inspections: InspectionServiceDep, asked: InspectionAsked) -> PreviewRead:
    """Which devices it would reach and when, and how many of them have the checks. Changes nothing."""
    return preview_read(inspections.preview(asked.plan(), utc_now()))


@router.get("/inspections/{inspection_id}", dependencies=_READ)
def get_inspection(inspection_id: InspectionIdPath, inspections: InspectionServiceDep) -> InspectionRead:
    return inspection_read(inspections.get(inspection_id))


@router.put("/inspections/{inspection_id}", dependencies=_MANAGE)
def change_inspection(
    inspection_id: InspectionIdPath,
    inspections: InspectionServiceDep,
    caller: CallerDep,
    asked: InspectionChangeAsked,
) -> InspectionRead:
    """From the next window that opens. Refused with 409 when `version` is not the newest."""
    return inspection_read(inspections.change(caller, inspection_id, asked.version, asked.plan(), utc_now()))


@router.post("/inspections/{inspection_id}/pause", dependencies=_MANAGE)
def pause_inspection(
    inspection_id: InspectionIdPath, inspections: InspectionServiceDep, caller: CallerDep
) -> InspectionRead:
    """Devices that wait for their moment are not asked any more; what was asked goes on."""
    return inspection_read(inspections.pause(caller, inspection_id, utc_now()))


@router.post("/inspections/{inspection_id}/resume", dependencies=_MANAGE)
def resume_inspection(
    inspection_id: InspectionIdPath, inspections: InspectionServiceDep, caller: CallerDep
) -> InspectionRead:
    return inspection_read(inspections.resume(caller, inspection_id, utc_now()))


@router.post("/inspections/{inspection_id}/end", dependencies=_MANAGE)
def end_inspection(
    inspection_id: InspectionIdPath, inspections: InspectionServiceDep, caller: CallerDep
) -> InspectionRead:
    """For good. Its results stay."""
    return inspection_read(inspections.end(caller, inspection_id, utc_now()))


@router.get("/inspections/{inspection_id}/rounds", dependencies=_READ)
def list_rounds(inspection_id: InspectionIdPath, inspections: InspectionServiceDep) -> RoundsRead:
    """The newest 60, a line for each time zone of a day; missed ones too, and why."""
    return RoundsRead(items=[round_read(one) for one in inspections.rounds(inspection_id)])


@router.get("/inspections/{inspection_id}/rounds/{date}", dependencies=_READ)
def list_turns(
    inspection_id: InspectionIdPath,
    date: DatePath,
    inspections: InspectionServiceDep,
    result: Annotated[
        str, Query(max_length=16, description="pass, warn, fail, error, unsupported; or waiting, asked, done, missed")
    ] = "",
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[TurnRead]:
    """Each device of a round and what came of it, in the order of ids."""
    page = inspections.turns(inspection_id, date, result, cursor, limit)
    return PageOf(items=[turn_read(row) for row in page.items], next=page.next)


@router.get("/devices/{device_id}/inspections")
def list_device_inspections(
    device_id: DeviceIdPath,
    inspections: InspectionServiceDep,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[DeviceTurnRead]:
    """What inspections found on a device, newest first."""
    page = inspections.of_device(device_id, cursor, limit)
    return PageOf(items=[device_turn_read(*row) for row in page.items], next=page.next)
