"""HTTP door of devices: the fleet worst first, and one of them with what it can do."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.devices.repository import DeviceFilters, DeviceRepository
from fleet_server.devices.schemas import DeviceDetail, DeviceRead, capabilities_read, device_fields, device_read
from fleet_server.devices.service import CapabilityCache, DeviceService
from fleet_server.faults.repository import FaultRepository
from fleet_server.faults.schemas import fault_read
from fleet_server.faults.service import FaultService
from fleet_server.health.searching import MAX_CHARS, MAX_CONDITIONS, HealthSearch, read_conditions
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.request_session import SessionDep
from fleet_server.sites.shown import sight_of

router = APIRouter(prefix="/api/v1/devices", tags=["devices"], dependencies=[needs(Permission.DEVICES_READ)])

DeviceIdPath = Annotated[str, Path(max_length=64, description="id of the device")]
Presence = Literal["online", "offline", "unknown"]
Kind = Literal["terminal", "gateway", "attached"]
Condition = Literal["faulty", "silent", "watch", "well", "off", "unknown"]


async def device_service(request: Request, session: SessionDep, caller: CallerDep) -> DeviceService:
    cache: CapabilityCache = request.app.state.capability_cache
    return DeviceService(DeviceRepository(session, caller.tenant_id), cache, sight_of(caller))


async def fault_service(session: SessionDep, caller: CallerDep) -> FaultService:
    return FaultService(FaultRepository(session, caller.tenant_id))


async def health_search(session: SessionDep, caller: CallerDep) -> HealthSearch:
    return HealthSearch(session, caller.tenant_id)


DeviceServiceDep = Annotated[DeviceService, Depends(device_service)]
FaultServiceDep = Annotated[FaultService, Depends(fault_service)]
HealthSearchDep = Annotated[HealthSearch, Depends(health_search)]


@router.get("")
def list_devices(
    devices: DeviceServiceDep,
    faults: FaultServiceDep,
    search: HealthSearchDep,
    q: Annotated[str, Query(max_length=200, description="words of its names and numbers")] = "",
    presence: Presence | None = None,
    condition: Condition | None = None,
    site: Annotated[str | None, Query(max_length=64)] = None,
    kind: Kind | None = None,
    model: Annotated[str | None, Query(max_length=80)] = None,
    firmware: Annotated[str | None, Query(max_length=80, description="empty: those that never told one")] = None,
    agent: Annotated[str | None, Query(max_length=64, description="version of the agent")] = None,
    fault: Annotated[str | None, Query(max_length=80, description="code of a fault that is open")] = None,
    where: Annotated[
        list[Annotated[str, Query(max_length=MAX_CHARS)]],
        Query(
            max_length=MAX_CONDITIONS,
            description="newest value of a metric: `modem.csq<10`, `sys.state=idle`",
        ),
    ] = [],  # noqa: B006 - FastAPI makes a new one for each request
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[DeviceRead]:
    """Devices, those with the worst condition first; `where` may be given more than once."""
    ids = None if fault is None else faults.devices_with(fault)
    among = search.devices(read_conditions(where))
    filters = DeviceFilters(
        q=q,
        presence=presence,
        condition=condition,
        site=site,
        kind=kind,
        model=model,
        firmware=firmware,
        agent=agent,
        device_ids=ids,
        among=among,
    )
    page = devices.list(filters, cursor, limit)
    return PageOf(items=[device_read(one) for one in page.items], next=page.next)


@router.get("/{device_id}")
def get_device(device_id: DeviceIdPath, devices: DeviceServiceDep, faults: FaultServiceDep) -> DeviceDetail:
    """One device with its open faults, what it can do, and what is attached to it."""
    found = devices.get(device_id)
    return DeviceDetail(
        **device_fields(found),
        capabilities=capabilities_read(devices.capabilities(device_id)),
        faults=[fault_read(fault) for fault in faults.open_of(device_id)],
        attached=[device_read(one) for one in devices.attached_to(device_id)],
    )
