"""HTTP door of live mode: an event stream of one device, for as long as somebody reads it."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from fleet_server.access import CallerDep, needs
from fleet_server.assignments.watching import of_assigned
from fleet_server.auth.dependencies import while_let_in
from fleet_server.auth.roles import Permission
from fleet_server.devices.endpoints import DeviceIdPath, DeviceServiceDep
from fleet_server.kit.times import text
from fleet_server.live.errors import TooManyWatchers
from fleet_server.live.hub import MAX_LISTENERS, LiveHub, LiveUpdate, Watched
from fleet_server.stream_places import ONE_STREAM
from protocol.shown_text import one_line

router = APIRouter(prefix="/api/v1", tags=["live"], dependencies=[needs(Permission.LIVE_WATCH)])


async def live_hub(request: Request) -> LiveHub:
    hub: LiveHub = request.app.state.live
    if hub.is_full:
        raise TooManyWatchers(f"{MAX_LISTENERS} devices are watched through this process: come again later")
    return hub


def link_of(device_id: DeviceIdPath, devices: DeviceServiceDep) -> str:
    return devices.get(device_id).device.link_id


LiveHubDep = Annotated[LiveHub, Depends(live_hub)]
LinkDep = Annotated[str, Depends(link_of)]


@router.get("/devices/{device_id}/live", response_class=EventSourceResponse, dependencies=[ONE_STREAM])
async def device_live(
    request: Request, device_id: DeviceIdPath, link_id: LinkDep, caller: CallerDep, hub: LiveHubDep
) -> AsyncIterator[ServerSentEvent]:
    """What the device measures now and how far its running executions are, every 2 s while this stream is open.

    On a metered link every 5 s, and the link pays for it. Reports may be lost and are kept nowhere; an offline device
    sends none. The stream ends after 10 minutes; open it again to go on.
    """
    updates = of_assigned(request.app.state.engine, caller.reach, hub.subscribe(Watched(device_id, link_id)))
    async for update in while_let_in(request, updates):
        yield ServerSentEvent(raw_data=one_line(msgspec.json.encode(fields(update)).decode()), event="live")


def fields(update: LiveUpdate) -> dict[str, object]:
    return {
        "device": update.device_id,
        "at": text(update.received_at),
        "samples": update.samples,
        "progress": [
            {"execution": one.execution, "progress_pct": one.progress_pct, "note": one.note} for one in update.progress
        ],
    }
