"""HTTP door of enrolment for people's programs: codes, singly and by the pallet, and devices that wait for a person."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.enrollment.codes import Codes
from fleet_server.enrollment.pallet import Wanted, read_pallet
from fleet_server.enrollment.schemas import (
    ApprovalAsked,
    CodeAsked,
    CodeMade,
    CodesMade,
    EnrolmentRead,
    PalletAsked,
    code_made,
    enrolment_read,
)
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

router = APIRouter(prefix="/api/v1/enrolments", tags=["enrolment"], dependencies=[needs(Permission.DEVICES_MANAGE)])
EnrolmentIdPath = Annotated[str, Path(max_length=64, description="id of the enrolment")]


def codes(request: Request, session: SessionDep, caller: CallerDep) -> Codes:
    root = request.app.state.settings.keys_dir / "ca.crt"
    return Codes(session, caller, root.read_bytes, utc_now())


CodesDep = Annotated[Codes, Depends(codes)]


@router.post("", status_code=201)
def make_code(codes: CodesDep, request: Request, asked: CodeAsked) -> CodeMade:
    """A code for one device. It is shown once."""
    wanted = Wanted(**asked.model_dump(exclude={"hours", "needs_approval"}))
    (made,) = codes.make([wanted], timedelta(hours=asked.hours), needs_approval=asked.needs_approval)
    return code_made(made, request.app.state.settings.url)


@router.post("/pallet", status_code=201)
def make_codes(codes: CodesDep, request: Request, asked: PalletAsked) -> CodesMade:
    """A code for each line of a CSV file: all or none."""
    wanted = read_pallet(asked.csv)
    made = codes.make(wanted, timedelta(hours=asked.hours), needs_approval=asked.needs_approval)
    url = request.app.state.settings.url
    return CodesMade(items=[code_made(one, url) for one in made])


@router.get("")
def list_enrolments(
    codes: CodesDep,
    state: Annotated[
        Literal["open", "pending", "approved", "done", "refused", "withdrawn"] | None, Query(description="only these")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[EnrolmentRead]:
    """Newest first."""
    page = codes.page(state, cursor, limit)
    return PageOf(items=[enrolment_read(row) for row in page.items], next=page.next)


@router.post("/{enrolment_id}/approve")
def approve(codes: CodesDep, enrolment_id: EnrolmentIdPath, asked: ApprovalAsked) -> EnrolmentRead:
    """Lets a device in that waits."""
    return enrolment_read(codes.approve(enrolment_id, asked.site))


@router.post("/{enrolment_id}/refuse")
def refuse(codes: CodesDep, enrolment_id: EnrolmentIdPath) -> EnrolmentRead:
    return enrolment_read(codes.refuse(enrolment_id))


@router.post("/{enrolment_id}/withdraw")
def withdraw(codes: CodesDep, enrolment_id: EnrolmentIdPath) -> EnrolmentRead:
    """Ends a code that nobody has used."""
    return enrolment_read(codes.withdraw(enrolment_id))
