"""HTTP door to what could not be understood, for operators."""

from typing import Annotated

from fastapi import APIRouter, Depends

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.ingest.dead_letters import DeadLetterService
from fleet_server.ingest.schemas import DeadLetterRead, dead_letter_read
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.request_session import SessionDep

router = APIRouter(
    prefix="/api/v1/dead-letters", tags=["dead letters"], dependencies=[needs(Permission.DEAD_LETTERS_READ)]
)


async def dead_letter_service(session: SessionDep, caller: CallerDep) -> DeadLetterService:
    return DeadLetterService(session, caller.tenant_id)


@router.get("")
def list_dead_letters(
    letters: Annotated[DeadLetterService, Depends(dead_letter_service)],
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[DeadLetterRead]:
    """What devices sent and this version could not understand, newest first. Needs the role operator."""
    page = letters.page(cursor, limit)
    return PageOf(items=[dead_letter_read(one) for one in page.items], next=page.next)
