"""Two books for looking things up: who did what, and what devices sent that could not be understood."""

import json
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from fleet_server.audit.service import AuditFilter
from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.console.frame import make_frame, page
from fleet_server.console.services import services_for
from fleet_server.console.words import AUDIT_ACTIONS, DEAD_LETTER_REASONS
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.request_session import SessionDep

router = APIRouter(include_in_schema=False)

CursorQuery = Annotated[str | None, Query(max_length=400)]
Condition = Annotated[str, Query(max_length=120)]


@router.get("/audit", dependencies=[console_needs(Permission.AUDIT_READ)])
def audit(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    actor: Condition = "",
    action: Condition = "",
    target: Condition = "",
    cursor: CursorQuery = None,
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    found = services.audit.page(AuditFilter(actor, action, target), cursor, DEFAULT_LIMIT)
    conditions = {"actor": actor, "action": action, "target": target}
    kept = {name: value for name, value in conditions.items() if value}
    following = "/audit?" + urlencode({**kept, "cursor": found.next}) if found.next else ""
    rows = [
        (entry, AUDIT_ACTIONS.get(entry.action, ""), json.dumps(entry.data, ensure_ascii=False))
        for entry in found.items
    ]
    return page(make_frame(request, session, "audit"), "audit.html", rows=rows, next=following, conditions=conditions)


@router.get("/dead-letters", dependencies=[console_needs(Permission.DEAD_LETTERS_READ)])
def dead_letters(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    found = services.dead_letters.page(cursor, DEFAULT_LIMIT)
    rows = [(letter, DEAD_LETTER_REASONS.get(letter.reason, "")) for letter in found.items]
    following = f"/dead-letters?cursor={found.next}" if found.next else ""
    return page(make_frame(request, session, "dead-letters"), "dead_letters.html", rows=rows, next=following)
