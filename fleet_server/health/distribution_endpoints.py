"""HTTP door of distributions: how a metric lies over the fleet, by model and version."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.devices.endpoints import DeviceServiceDep, Kind
from fleet_server.devices.repository import DeviceFilters
from fleet_server.health.distribution import DistributionService, FleetValues, Version
from fleet_server.health.schemas import DistributionRead, distribution_read
from fleet_server.health.searching import METRIC_NAME
from fleet_server.kit.free_text import FreeText
from fleet_server.request_session import SessionDep

router = APIRouter(prefix="/api/v1/health", tags=["health"], dependencies=[needs(Permission.HEALTH_READ)])


async def distribution_service(session: SessionDep, caller: CallerDep) -> DistributionService:
    return DistributionService(FleetValues(session, caller.tenant_id))


DistributionServiceDep = Annotated[DistributionService, Depends(distribution_service)]


@router.get("/distribution")
def distribution(
    devices: DeviceServiceDep,
    service: DistributionServiceDep,
    metric: Annotated[str, Query(pattern=f"^{METRIC_NAME}$"), FreeText],
    by: Annotated[Version, Query(description="which version, beside the model, makes a group")] = Version.FIRMWARE,
    model: Annotated[str | None, Query(max_length=80)] = None,
    site: Annotated[str | None, Query(max_length=64)] = None,
    kind: Kind | None = None,
) -> DistributionRead:
    """Of the newest values of a metric: for each model and version how many devices, their quantiles, and how many are
    out of the normal range.
    """
    makes = devices.makes(DeviceFilters(model=model, site=site, kind=kind))
    return distribution_read(service.of(metric, makes, by))
