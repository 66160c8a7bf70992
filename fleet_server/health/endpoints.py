"""HTTP door of health: newest values with their normal ranges, and their course."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.devices.endpoints import DeviceIdPath, DeviceServiceDep
from fleet_server.health.repository import HealthRepository
from fleet_server.health.schemas import MetricRead, metric_reads
from fleet_server.health.service import MAX_POINTS, Courses, HealthService
from fleet_server.kit.schemas import AskedMoment, PageOf
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

router = APIRouter(prefix="/api/v1/devices", tags=["health"], dependencies=[needs(Permission.HEALTH_READ)])
_DEFAULT_RANGE = timedelta(hours=24)


async def health_service(request: Request, session: SessionDep, caller: CallerDep) -> HealthService:
    return HealthService(HealthRepository(session, caller.tenant_id), request.app.state.settings.health_kept)


HealthServiceDep = Annotated[HealthService, Depends(health_service)]


@router.get("/{device_id}/health")
def device_health(
    device_id: DeviceIdPath,
    devices: DeviceServiceDep,
    health: HealthServiceDep,
    metrics: Annotated[str, Query(max_length=2000, description="names of metrics, separated by commas")] = "",
    begin: Annotated[AskedMoment | None, Query(alias="from", description="default: 24 h before `to`")] = None,
    end: Annotated[AskedMoment | None, Query(alias="to", description="default: now")] = None,
    points: Annotated[int, Query(ge=0, le=MAX_POINTS, description="at most so many a metric")] = MAX_POINTS,
) -> PageOf[MetricRead]:
    """One item a metric: its newest value, and its course from `from` to `to`: single samples of some hours, or means
    with their extremes of as many buckets as `points` allows.
    """
    found = devices.get(device_id)
    wanted = [name for name in metrics.split(",") if name]
    until = end or utc_now()
    since = begin or _day_before(until)
    courses = health.course(device_id, wanted, since, until, points) if points else Courses(None, {})
    items = metric_reads(health.latest(device_id), courses, found.device.terminal_class, wanted)
    return PageOf(items=items, next=None)


def _day_before(moment: datetime) -> datetime:
    return moment - _DEFAULT_RANGE
