"""Which rules people set aside to begin a fix, and how often."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.console.frame import make_frame, page
from fleet_server.console.services import services_for
from fleet_server.console.words import OVERRIDDEN_RULES
from fleet_server.executions.overrides import JUDGED_FROM, WRONG_ABOVE_PCT
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

SPANS_DAYS = (7, 30, 90, 365)
_USUAL_DAYS = 30

router = APIRouter(include_in_schema=False, dependencies=[console_needs(Permission.EXECUTIONS_READ)])


@router.get("/overrides")
def overrides_page(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    days: Annotated[str, Query(max_length=8)] = "",
) -> HTMLResponse:
    """A span that is none of ours is the usual one."""
    chosen = next((one for one in SPANS_DAYS if str(one) == days), _USUAL_DAYS)
    now = utc_now()
    found = services_for(request, database, session.actor).overrides.between(now - timedelta(days=chosen), now)
    return page(
        make_frame(request, session, "overrides"),
        "overrides.html",
        found=found,
        rows=[(one, OVERRIDDEN_RULES.get(one.rule, "")) for one in found.rules],
        days=chosen,
        spans=SPANS_DAYS,
        limit=f"{WRONG_ABOVE_PCT:g}",
        judged_from=JUDGED_FROM,
    )
