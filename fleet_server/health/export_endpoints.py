"""HTTP door of exports: a file that is written while it is sent. Each is noted in the audit before its first byte."""

from collections.abc import Iterator
from threading import BoundedSemaphore
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime
from sqlalchemy import Engine

from fleet_server.access import CallerDep, needs
from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor, Permission
from fleet_server.db import transaction
from fleet_server.errors import FleetError
from fleet_server.health.export import HealthExport, Wanted
from fleet_server.health.export_files import Format, check_format, written
from fleet_server.health.rollups import Level

router = APIRouter(prefix="/api/v1/health", tags=["health"], dependencies=[needs(Permission.HEALTH_EXPORT)])
# Each takes a thread and a database connection for as long as the client reads.
MAX_AT_ONCE = 4
_LEVELS = {"samples": None, "5min": Level.FIVE_MINUTES, "hour": Level.HOUR, "day": Level.DAY}


class TooManyExports(FleetError):
    code = "too_many_exports"
    status = 429


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}, "application/vnd.apache.parquet": {}}}},
)
def export_health(
    request: Request,
    caller: CallerDep,
    begin: Annotated[AwareDatetime, Query(alias="from")],
    end: Annotated[AwareDatetime, Query(alias="to", description="left out")],
    device: Annotated[str | None, Query(max_length=64)] = None,
    site: Annotated[str | None, Query(max_length=64)] = None,
    metrics: Annotated[str, Query(max_length=2000, description="names of metrics, separated by commas")] = "",
    level: Literal["samples", "5min", "hour", "day"] = "samples",
    file_format: Annotated[Format, Query(alias="format")] = Format.CSV,
) -> StreamingResponse:
    """Every sample, or every bucket of a rollup, from `from` to `to`, one device after the other."""
    check_format(file_format)
    engine: Engine = request.app.state.engine
    named = frozenset(name for name in metrics.split(",") if name)
    wanted = Wanted(begin, end, _LEVELS[level], device, site, named)
    export = HealthExport(engine, caller.tenant_id, wanted)
    export.count_devices()
    held: BoundedSemaphore = request.app.state.exports
    if not held.acquire(blocking=False):
        raise TooManyExports(f"{MAX_AT_ONCE} exports are running: come again when one has ended")
    chunks = _held(held, engine, caller, export, wanted, file_format)
    # Up to the first row everything can still be refused in words.
    next(chunks)
    name = f"health-{begin:%Y%m%d}-{end:%Y%m%d}.{file_format}"
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(chunks, media_type=file_format.media_type, headers=disposition)


def _held(
    held: BoundedSemaphore, engine: Engine, caller: Actor, export: HealthExport, wanted: Wanted, file_format: Format
) -> Iterator[bytes]:
    try:
        with transaction(engine, caller.tenant_id) as session:
            record(session, caller, "health_exported", data={**wanted.as_data(), "format": file_format.value})
        yield b""
        yield from written(export.pieces(), file_format, is_rollup=wanted.level is not None)
    finally:
        held.release()
