"""Where devices fetch software, over HTTPS and in ranges. They are given that of the tenant whose they prove to be.

What is given here is believed for its signatures and not for where it came from; the proof keeps one tenant's software
from another's devices and from strangers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import FileResponse
from sqlalchemy import Engine

from fleet_server.artifacts.caller import device_of
from fleet_server.artifacts.store import Store
from fleet_server.db import reading
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings

router = APIRouter(prefix="/artifacts/v1", tags=["software for devices"])
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}},
    206: {"description": "the range that was asked for"},
    403: {"description": "not a device in service"},
    404: {"description": "no such file in the repository of the device's tenant"},
}
PassHeader = Annotated[str, Header(alias="Authorization", max_length=12_000)]


@router.get("/metadata/{name}", response_class=FileResponse, responses=_BYTES)
def metadata_file(request: Request, name: str, authorization: PassHeader = "") -> FileResponse:
    """A file of the repository's metadata, for `protocol.artifacts.DevicePass`."""
    return _file(_store(request, authorization).metadata_file(name))


@router.get("/targets/{path:path}", response_class=FileResponse, responses=_BYTES)
def target_file(request: Request, path: str, authorization: PassHeader = "") -> FileResponse:
    """A target, or a range of it."""
    return _file(_store(request, authorization).target_file(path))


def _store(request: Request, header: str) -> Store:
    settings: ServerSettings = request.app.state.settings
    engine: Engine = request.app.state.engine
    with reading(engine) as session:
        link = device_of(session, header, settings.keys_dir / "ca.crt", utc_now())
        return Store.of(settings, link.tenant_id)


def _file(path: Path) -> FileResponse:
    return FileResponse(path, media_type="application/octet-stream")
