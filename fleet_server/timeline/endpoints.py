"""HTTP door of the timeline: pages of one device's, and event streams of a device or the fleet.

A stream begins after the ``Last-Event-ID`` it is given, else after the newest event at the moment it was asked for, so
nothing is missed between the answer's first byte and the first event. It ends within seconds when its token does.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from fleet_server.access import CallerDep, needs
from fleet_server.assignments.watching import of_assigned
from fleet_server.auth.dependencies import while_let_in
from fleet_server.auth.roles import Permission
from fleet_server.devices.endpoints import DeviceIdPath, DeviceServiceDep
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.request_session import SessionDep
from fleet_server.stream_places import ONE_STREAM
from fleet_server.timeline.hub import EventFilter, EventHub
from fleet_server.timeline.repository import TimelineRepository
from fleet_server.timeline.schemas import EventRead, event_read, streamed
from fleet_server.timeline.service import TimelineService

router = APIRouter(prefix="/api/v1", tags=["timeline"], dependencies=[needs(Permission.EVENTS_READ)])
LastEventId = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=2**62)]


async def timeline_service(session: SessionDep, caller: CallerDep) -> TimelineService:
    return TimelineService(TimelineRepository(session, caller.tenant_id))


TimelineServiceDep = Annotated[TimelineService, Depends(timeline_service)]


def start_after(timeline: TimelineServiceDep, last_event_id: LastEventId = None) -> int:
    return timeline.newest_id() if last_event_id is None else last_event_id


def known_device(device_id: DeviceIdPath, devices: DeviceServiceDep) -> str:
    devices.require(device_id)
    return device_id


async def event_hub(request: Request) -> EventHub:
    hub: EventHub = request.app.state.hub
    hub.require_room()
    return hub


StartAfter = Annotated[int, Depends(start_after)]
EventHubDep = Annotated[EventHub, Depends(event_hub)]


@router.get("/devices/{device_id}/timeline")
def device_timeline(
    device_id: Annotated[str, Depends(known_device)],
    timeline: TimelineServiceDep,
    types: Annotated[str, Query(max_length=400, description="types of events, separated by commas")] = "",
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[EventRead]:
    """What happened to the device, newest first."""
    wanted = [name for name in types.split(",") if name]
    page = timeline.page(device_id, wanted, cursor, limit)
    return PageOf(items=[event_read(event) for event in page.items], next=page.next)


@router.get("/devices/{device_id}/events", response_class=EventSourceResponse, dependencies=[ONE_STREAM])
async def device_events(
    request: Request,
    device_id: Annotated[str, Depends(known_device)],
    caller: CallerDep,
    hub: EventHubDep,
    after_id: StartAfter,
) -> AsyncIterator[ServerSentEvent]:
    """Events of the device as they are recorded; resumes after `Last-Event-ID`."""
    events = hub.subscribe(EventFilter(caller.tenant_id, device_id=device_id), after_id)
    async for event in while_let_in(request, of_assigned(request.app.state.engine, caller.reach, events)):
        yield streamed(event)


@router.get("/events", response_class=EventSourceResponse, dependencies=[ONE_STREAM])
async def fleet_events(
    request: Request, caller: CallerDep, hub: EventHubDep, after_id: StartAfter
) -> AsyncIterator[ServerSentEvent]:
    """Events of the whole fleet as they are recorded; resumes after `Last-Event-ID`."""
    events = hub.subscribe(EventFilter(caller.tenant_id), after_id)
    async for event in while_let_in(request, of_assigned(request.app.state.engine, caller.reach, events)):
        yield streamed(event)
