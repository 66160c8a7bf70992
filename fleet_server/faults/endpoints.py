"""HTTP door of faults: what is and was wrong, newest first."""

from typing import Annotated

from fastapi import APIRouter, Query

from fleet_server.access import needs
from fleet_server.auth.roles import Permission
from fleet_server.devices.endpoints import FaultServiceDep
from fleet_server.faults.repository import FaultFilters
from fleet_server.faults.schemas import FaultRead, fault_read
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf

router = APIRouter(prefix="/api/v1/faults", tags=["faults"], dependencies=[needs(Permission.FAULTS_READ)])


@router.get("")
def list_faults(
    faults: FaultServiceDep,
    device: Annotated[str | None, Query(max_length=64)] = None,
    code: Annotated[str | None, Query(max_length=80)] = None,
    is_open: Annotated[bool | None, Query(alias="open")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[FaultRead]:
    page = faults.list(FaultFilters(device=device, code=code, is_open=is_open), cursor, limit)
    return PageOf(items=[fault_read(fault) for fault in page.items], next=page.next)
