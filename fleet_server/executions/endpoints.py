"""HTTP door of executions: asking for checks, tests and fixes, following them, ending them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from fleet_server.access import CallerDep, needs
from fleet_server.assignments.watching import of_assigned
from fleet_server.auth.dependencies import while_let_in
from fleet_server.auth.roles import Permission
from fleet_server.devices.endpoints import DeviceServiceDep
from fleet_server.executions.desk import ExecutionDesk
from fleet_server.executions.repository import ExecutionFilters
from fleet_server.executions.schemas import (
    ConsentAsked,
    ExecutionAsked,
    ExecutionDetail,
    ExecutionRead,
    execution_detail,
    execution_read,
)
from fleet_server.executions.service import ExecutionService, Wish
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep
from fleet_server.stream_places import ONE_STREAM
from fleet_server.timeline.endpoints import EventHubDep, LastEventId, TimelineServiceDep
from fleet_server.timeline.hub import EventFilter
from fleet_server.timeline.models import Event
from fleet_server.timeline.schemas import Happening, streamed
from protocol.authorisations import Artifact
from protocol.executions import FINAL, ExecutionState, Result

router = APIRouter(prefix="/api/v1/executions", tags=["executions"], dependencies=[needs(Permission.EXECUTIONS_READ)])

ExecutionIdPath = Annotated[str, Path(max_length=64, description="id of the execution")]
IdempotencyKeyHeader = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=120, description="the same again within 24 h asks once"),
]


async def execution_service(
    request: Request, session: SessionDep, caller: CallerDep, devices: DeviceServiceDep
) -> ExecutionService:
    state = request.app.state
    return ExecutionService(session, caller.tenant_id, devices, state.dispatcher, state.outbound)


ExecutionServiceDep = Annotated[ExecutionService, Depends(execution_service)]


async def execution_desk(request: Request) -> ExecutionDesk:
    state = request.app.state
    return ExecutionDesk(state.engine, state.capability_cache, state.dispatcher, state.outbound, state.conflicts)


ExecutionDeskDep = Annotated[ExecutionDesk, Depends(execution_desk)]


@router.post("", status_code=201, response_model=ExecutionRead)
def request_execution(
    asked: ExecutionAsked,
    desk: ExecutionDeskDep,
    caller: CallerDep,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Asks a device for one of its declared actions. It waits in a queue while the device is offline."""
    artifact = None if asked.artifact is None else Artifact(**asked.artifact.model_dump())
    wish = Wish(
        asked.device,
        asked.action,
        dict(asked.params),
        asked.override_reason,
        consent=asked.consent,
        artifact=artifact,
        supersedes=asked.supersedes,
        is_planned=asked.planned,
    )
    row = desk.request(caller, wish, utc_now(), idempotency_key)
    return Response(execution_read(row).model_dump_json(), 201, media_type="application/json")


@router.get("")
def list_executions(
    executions: ExecutionServiceDep,
    device: Annotated[str | None, Query(max_length=64)] = None,
    state: ExecutionState | None = None,
    result: Annotated[Result | None, Query(description="what came of it, such as no_answer")] = None,
    open_only: Annotated[bool, Query(alias="open", description="only those that have not ended")] = False,  # noqa: FBT002 - a query parameter is given by name
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[ExecutionRead]:
    """Executions, newest first."""
    page = executions.list(
        ExecutionFilters(device=device, state=state, open_only=open_only, result=result), cursor, limit
    )
    return PageOf(items=[execution_read(row) for row in page.items], next=page.next)


@router.get("/{execution_id}")
def get_execution(
    execution_id: ExecutionIdPath, executions: ExecutionServiceDep, timeline: TimelineServiceDep
) -> ExecutionDetail:
    """State, progress, verdict, and every result so far."""
    row = executions.get(execution_id)
    return execution_detail(row, timeline.of_execution(execution_id))


@router.post("/{execution_id}/cancel")
def cancel_execution(execution_id: ExecutionIdPath, desk: ExecutionDeskDep, caller: CallerDep) -> ExecutionRead:
    """Ends a queued one at once; of any other the device is asked, and its answer decides."""
    return execution_read(desk.cancel(caller, execution_id, utc_now()))


@router.post("/{execution_id}/consent", dependencies=[needs(Permission.REQUEST_FIX)])
def give_consent(
    execution_id: ExecutionIdPath, asked: ConsentAsked, desk: ExecutionDeskDep, caller: CallerDep
) -> ExecutionRead:
    """Brings the digits that the merchant read out to the terminal. Whether they are right only the terminal knows."""
    return execution_read(desk.consent(caller, execution_id, asked.code, utc_now()))


@dataclass(frozen=True, slots=True)
class Followed:
    """``rest``: what is still to be told of an execution that has ended, or None while it goes on."""

    execution_id: str
    after_id: int
    rest: list[Event] | None


def followed(
    execution_id: ExecutionIdPath,
    executions: ExecutionServiceDep,
    timeline: TimelineServiceDep,
    last_event_id: LastEventId = None,
) -> Followed:
    after_id = last_event_id or 0
    row = executions.get(execution_id)
    rest = timeline.of_execution(execution_id, after_id) if row.is_final else None
    return Followed(execution_id, after_id, rest)


@router.get("/{execution_id}/events", response_class=EventSourceResponse, dependencies=[ONE_STREAM])
async def execution_events(
    request: Request, follow: Annotated[Followed, Depends(followed)], caller: CallerDep, hub: EventHubDep
) -> AsyncIterator[ServerSentEvent]:
    """Everything from the request on, or after `Last-Event-ID`; ends when the execution has ended."""
    if follow.rest is not None:
        for event in follow.rest:
            yield streamed(event)
        return
    where = EventFilter(caller.tenant_id, execution_id=follow.execution_id)
    happenings = of_assigned(request.app.state.engine, caller.reach, hub.subscribe(where, follow.after_id))
    async for happening in while_let_in(request, happenings):
        yield streamed(happening)
        if _ends(happening):
            return


def _ends(event: Happening) -> bool:
    return event.type == "execution" and not event.data.get("late") and event.data.get("state") in FINAL
