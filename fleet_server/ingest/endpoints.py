"""HTTP door to what could not be understood, for operators."""

from typing import Annotated

from fastapi import APIRouter, Depends

from fleet_server.access import CallerDep
from fleet_server.auth.dependencies import check_role
from fleet_server.auth.roles import Actor, Role
from fleet_server.ingest.dead_letters import DeadLetterService
from fleet_server.ingest.schemas import DeadLetterRead, dead_letter_read
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.request_session import SessionDep

router = APIRouter(prefix="/api/v1/dead-letters", tags=["dead letters"])


async def operator(caller: CallerDep) -> Actor:
    return check_role(caller, Role.OPERATOR)


async def dead_letter_service(session: SessionDep, operator: Annotated[Actor, Depends(operator)]) -> DeadLetterService:
    return DeadLetterService(session, operator.tenant_id)


@router.get("")
def list_dead_letters(
    letters: Annotated[DeadLetterService, Depends(dead_letter_service)],
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[DeadLetterRead]:
    """What devices sent and this version could not understand, newest first. Needs the role operator."""
    page = letters.page(cursor, limit)
    return PageOf(items=[dead_letter_read(one) for one in page.items], next=page.next)
