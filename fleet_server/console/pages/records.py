"""Two books for looking things up: who did what, and what devices sent that could not be understood."""

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from fleet_server.audit.files import AuditFormat
from fleet_server.audit.reading import audit_file, note_reading, without_personal
from fleet_server.audit.service import AuditFilter
from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.console.audit_words import AUDIT_ACTIONS
from fleet_server.console.frame import make_frame, page
from fleet_server.console.services import services_for
from fleet_server.console.words import DEAD_LETTER_REASONS
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

router = APIRouter(include_in_schema=False)

CursorQuery = Annotated[str | None, Query(max_length=400)]
Condition = Annotated[str, Query(max_length=120)]
Day = Annotated[str, Query(max_length=10)]


@dataclass(frozen=True, slots=True)
class AuditConditions:
    """As they stand in the address; days are whole days of the reader's calendar."""

    actor: str = ""
    action: str = ""
    target: str = ""
    since: str = ""
    until: str = ""

    def kept(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value}

    def where(self, zone: tzinfo) -> AuditFilter:
        until = _midnight(self.until, zone)
        return AuditFilter(
            self.actor,
            self.action,
            self.target,
            _midnight(self.since, zone),
            None if until is None else until + timedelta(days=1),
        )


def audit_conditions(
    actor: Condition = "", action: Condition = "", target: Condition = "", since: Day = "", until: Day = ""
) -> AuditConditions:
    return AuditConditions(actor, action, target, since, until)


AuditConditionsDep = Annotated[AuditConditions, Depends(audit_conditions)]


@router.get("/audit", dependencies=[console_needs(Permission.AUDIT_READ)])
def audit(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    conditions: AuditConditionsDep,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    frame = make_frame(request, session, "audit")
    where = conditions.where(frame.calendar.zone)
    note_reading(request.app.state.engine, session.actor, "audit_read", where.as_data())
    found = services_for(request, database, session.actor).audit.page(where, cursor, DEFAULT_LIMIT)
    kept = conditions.kept()
    following = "/audit?" + urlencode({**kept, "cursor": found.next}) if found.next else ""
    lines = found.items if session.actor.may(Permission.PERSONAL_READ) else without_personal(found.items)
    rows = [
        (line, AUDIT_ACTIONS.get(line.action, ""), json.dumps({**line.data, **line.personal}, ensure_ascii=False))
        for line in lines
    ]
    exports = {one.value: "/audit/export?" + urlencode({**kept, "format": one.value}) for one in AuditFormat}
    if not session.actor.may(Permission.AUDIT_EXPORT):
        exports = {}
    return page(frame, "audit.html", rows=rows, next=following, conditions=conditions, exports=exports)


@router.get("/audit/export", dependencies=[console_needs(Permission.AUDIT_EXPORT)])
def audit_export(
    request: Request,
    session: ConsoleSessionDep,
    conditions: AuditConditionsDep,
    file_format: Annotated[AuditFormat, Query(alias="format")] = AuditFormat.CSV,
) -> StreamingResponse:
    where = conditions.where(make_frame(request, session, "audit").calendar.zone)
    chunks = audit_file(request.app.state.engine, session.actor, where, file_format)
    # Written down before anything leaves.
    next(chunks)
    disposition = {"Content-Disposition": f'attachment; filename="audit-{utc_now():%Y%m%d}.{file_format}"'}
    return StreamingResponse(chunks, media_type=file_format.media_type, headers=disposition)


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


def _midnight(day: str, zone: tzinfo) -> datetime | None:
    """Where a day begins; None for none, or for a text that is no day of this age."""
    try:
        parsed = date.fromisoformat(day)
    except ValueError:
        return None
    return datetime.combine(parsed, time(), zone) if 1970 <= parsed.year <= 2100 else None
