"""HTTP door of exports (`fleet_server.health.export_answer`)."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.health.export import Wanted
from fleet_server.health.export_answer import export_answer
from fleet_server.health.export_files import Format
from fleet_server.health.rollups import Level
from fleet_server.kit.schemas import AskedMoment

router = APIRouter(prefix="/api/v1/health", tags=["health"], dependencies=[needs(Permission.HEALTH_EXPORT)])
_LEVELS = {"samples": None, "5min": Level.FIVE_MINUTES, "hour": Level.HOUR, "day": Level.DAY}


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}, "application/vnd.apache.parquet": {}}}},
)
def export_health(
    request: Request,
    caller: CallerDep,
    begin: Annotated[AskedMoment, Query(alias="from")],
    end: Annotated[AskedMoment, Query(alias="to", description="left out")],
    device: Annotated[str | None, Query(max_length=64)] = None,
    site: Annotated[str | None, Query(max_length=64)] = None,
    metrics: Annotated[str, Query(max_length=2000, description="names of metrics, separated by commas")] = "",
    level: Literal["samples", "5min", "hour", "day"] = "samples",
    file_format: Annotated[Format, Query(alias="format")] = Format.CSV,
) -> StreamingResponse:
    """Every sample, or every bucket of a rollup, from `from` to `to`, one device after the other."""
    named = frozenset(name for name in metrics.split(",") if name)
    wanted = Wanted(begin, end, _LEVELS[level], device, site, named)
    return export_answer(request.app.state, caller, wanted, file_format)
