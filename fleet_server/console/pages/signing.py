"""Who allows changes, and how to end it: the emergency stop, what waits for approvers, shift permits.

Nothing is signed here and nothing can be: this process has no key of anybody. A stop is asked of the signer; a lift, an
approval and a permit are signed by people elsewhere, and only shown here.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.access import require_of_installation
from fleet_server.approvals.documents import Documents
from fleet_server.approvals.models import BREAK_GLASS, ShiftPermit
from fleet_server.audit.service import record
from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.console.frame import ENDS, Frame, make_frame, page
from fleet_server.console.moments import Calendar, Moment
from fleet_server.console.run_parts import RunRow, run_rows
from fleet_server.console.services import Services, services_for
from fleet_server.enrollment.ends import ends
from fleet_server.executions.endpoints import ExecutionDeskDep
from fleet_server.executions.repository import ExecutionFilters
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.times import from_ms, utc_now
from fleet_server.request_session import SessionDep
from fleet_server.signer.errors import SignerUnreachable, SigningStopped
from fleet_server.signer.messages import Standing, StopNote
from fleet_server.signer.stopping import Stopping, note_of
from protocol.signing import Policy

router = APIRouter(include_in_schema=False)
_READ = console_needs(Permission.APPROVALS_READ)
_DECIDE = console_needs(Permission.APPROVALS_DECIDE)
IdPath = Annotated[str, Path(max_length=64)]


@dataclass(frozen=True, slots=True)
class PermitRow:
    id: str
    people: str
    actions: str
    devices: int
    used: int
    max_count: int
    ends_at: Moment | None
    reason: str
    is_live: bool
    is_withdrawn: bool
    is_broken_glass: bool

    @property
    def left(self) -> int:
        return max(0, self.max_count - self.used)


@dataclass(frozen=True, slots=True)
class EndRow:
    what: str  # source text
    at: Moment | None
    is_soon: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A permit as somebody wants it, as the command that an approver gives."""

    actions: str = ""
    devices: str = ""
    hours: str = "8"
    count: str = "20"

    def command(self, asked_by: str) -> str:
        named = [("--action", one) for one in _words(self.actions)]
        named += [("--device", one) for one in _words(self.devices)]
        if not {name for name, _ in named} >= {"--action", "--device"}:
            return ""
        words = ["fleet-server", "permit", "--key", "YOUR-KEY.pem", "--asked-by", asked_by]
        words += [word for pair in named for word in pair]
        return shlex.join([*words, "--hours", self.hours, "--count", self.count])


@router.get("/signing", dependencies=[_READ])
def signing_page(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    actions: Annotated[str, Query(max_length=2000)] = "",
    devices: Annotated[str, Query(max_length=4000)] = "",
    hours: Annotated[str, Query(pattern=r"^[0-9]{1,2}$")] = "8",
    count: Annotated[str, Query(pattern=r"^[0-9]{1,6}$")] = "20",
) -> HTMLResponse:
    now, frame = utc_now(), make_frame(request, session, "signing")
    services = services_for(request, database, session.actor)
    documents = Documents(database, session.actor.tenant_id)
    permits = documents.list_permits(now)
    used = services.executions.permit_uses([one.id for one in permits])
    note, standing = _standing(request, session.actor.tenant_id)
    wanted = Wanted(actions, devices, hours, count)
    return page(
        frame,
        "signing.html",
        may_stop=_may_stop(request, session),
        stopped_by="" if note is None else note.by,
        stopped_at=None if frame.stop is None else frame.calendar.at(from_ms(frame.stop.issued_at_ms)),
        cancelled=[] if frame.stop is None else _cancelled(services, frame),
        standing=standing,
        signed=standing.used if standing is not None and _is_own(request, session) else None,
        approvers=_approvers(request, session.actor.tenant_id),
        awaited=[(one, frame.calendar.at(one.row.expires_at)) for one in documents.list_awaited(now)],
        permits=[_permit_row(one, used.get(one.id, 0), frame.calendar) for one in permits],
        url=request.app.state.settings.url,
        ends=_ends(request, frame) if _is_own(request, session) else [],
        wanted=wanted,
        command=wanted.command(session.actor.name),
    )


@router.post("/signing/stop")
def stop(
    request: Request,
    session: ConsoleSessionDep,
    desk: ExecutionDeskDep,
    reason: Annotated[str, Form(min_length=3, max_length=300)],
) -> Response:
    """In one hand and without a second proof: it harms nothing, and whoever sees an attack must not be held up."""
    actor = require_of_installation(request, session.actor, Permission.SIGNING_STOP)
    _stopping(request, desk).stop(actor, reason, utc_now())
    return RedirectResponse("/signing", status_code=303)


@router.post("/signing/permits/{permit_id}/withdraw", dependencies=[_DECIDE])
def withdraw(session: ConsoleSessionDep, database: SessionDep, permit_id: IdPath) -> Response:
    """Takes away what was allowed, which needs no signature."""
    now = utc_now()
    row = Documents(database, session.actor.tenant_id).withdraw_permit(permit_id, now)
    record(database, session.actor, "permit_withdrawn", row.id, {"permit": row.id}, now=now)
    return RedirectResponse("/signing", status_code=303)


def _stopping(request: Request, desk: ExecutionDeskDep) -> Stopping:
    state = request.app.state
    return Stopping(state.engine, state.settings, state.signer, desk)


def _may_stop(request: Request, session: ConsoleSessionDep) -> bool:
    return _is_own(request, session) and session.actor.may(Permission.SIGNING_STOP)


def _is_own(request: Request, session: ConsoleSessionDep) -> bool:
    """How much is signed for others is nobody's business but the installation's own."""
    return session.actor.tenant_id == str(request.app.state.settings.tenant)


def _approvers(request: Request, tenant_id: str) -> int:
    try:
        policy: Policy = request.app.state.signer.policy(utc_now())
    except SignerUnreachable:
        return 0
    return len({one.name for one in policy.approvers if one.tenant in {"", tenant_id}})


def _standing(request: Request, tenant: str) -> tuple[StopNote | None, Standing | None]:
    """None: the signer does not answer; what terminals were given is shown all the same."""
    try:
        standing: Standing = request.app.state.signer.standing(utc_now())
    except SignerUnreachable:
        return None, None
    return note_of(standing, tenant), standing


def _ends(request: Request, frame: Frame) -> list[EndRow]:
    now = utc_now()
    found = ends(request.app.state.settings)
    return [EndRow(ENDS[one.what], frame.calendar.at(one.at), one.is_soon(now)) for one in found]


def _cancelled(services: Services, frame: Frame) -> list[RunRow]:
    """By the last stop, or one before it."""
    found = services.executions.list(ExecutionFilters(code=SigningStopped.code), None, DEFAULT_LIMIT)
    return run_rows(services, frame, found.items)


def _permit_row(row: ShiftPermit, used: int, calendar: Calendar) -> PermitRow:
    is_over = row.not_after <= utc_now()
    return PermitRow(
        id=row.id,
        people=row.people,
        actions=", ".join(str(one) for one in row.actions),
        devices=row.target_count,
        used=used,
        max_count=row.max_count,
        ends_at=calendar.at(row.not_after),
        reason=row.reason,
        is_live=not is_over and row.withdrawn_at is None and used < row.max_count,
        is_withdrawn=row.withdrawn_at is not None,
        is_broken_glass=row.people == BREAK_GLASS,
    )


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word.isprintable()][:64]
