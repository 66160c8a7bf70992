"""The answer to whoever asks for an export, at either door: a file that is written while it is sent. Each is noted in
the audit before its first byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import BoundedSemaphore

from fastapi.responses import StreamingResponse
from sqlalchemy import Engine
from starlette.datastructures import State

from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor
from fleet_server.db import transaction
from fleet_server.errors import FleetError
from fleet_server.health.export import HealthExport, Wanted
from fleet_server.health.export_files import Format, check_format, written

# Each takes a thread and a database connection for as long as the client reads.
MAX_AT_ONCE = 4


class TooManyExports(FleetError):
    code = "too_many_exports"
    status = 429


def export_answer(state: State, actor: Actor, wanted: Wanted, file_format: Format) -> StreamingResponse:
    """``state``: of the application. Raises what `HealthExport.count_devices` and `check_format` raise."""
    check_format(file_format)
    engine: Engine = state.engine
    export = HealthExport(engine, actor.tenant_id, wanted)
    export.count_devices()
    held: BoundedSemaphore = state.exports
    if not held.acquire(blocking=False):
        raise TooManyExports(f"{MAX_AT_ONCE} exports are running: come again when one has ended")
    chunks = _held(held, engine, actor, export, wanted, file_format)
    # Up to the first row everything can still be refused in words.
    next(chunks)
    name = f"health-{wanted.begin:%Y%m%d}-{wanted.end:%Y%m%d}.{file_format}"
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(chunks, media_type=file_format.media_type, headers=disposition)


def _held(
    held: BoundedSemaphore, engine: Engine, actor: Actor, export: HealthExport, wanted: Wanted, file_format: Format
) -> Iterator[bytes]:
    try:
        with transaction(engine, actor.reach) as session:
            record(session, actor, "health_exported", data={**wanted.as_data(), "format": file_format.value})
        yield b""
        yield from written(export.pieces(), file_format, is_rollup=wanted.level is not None)
    finally:
        held.release()
