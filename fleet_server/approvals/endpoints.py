"""HTTP door of approvals and shift permits. What counts is the signature that comes along: a token alone decides
nothing, so a program of an approver may bring it.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from fleet_server.access import CallerDep, needs
from fleet_server.approvals.documents import Documents
from fleet_server.approvals.schemas import (
    ApprovalRead,
    GlassAsked,
    PermitAsked,
    PermitRead,
    RefusalAsked,
    SignatureAsked,
    approval_read,
    permit_read,
)
from fleet_server.audit.service import record
from fleet_server.auth.roles import Permission
from fleet_server.executions.endpoints import ExecutionDeskDep, ExecutionServiceDep
from fleet_server.executions.schemas import ExecutionRead, execution_read
from fleet_server.kit.schemas import PageOf
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep
from protocol.signing import Signature

router = APIRouter(prefix="/api/v1", tags=["approvals"], dependencies=[needs(Permission.APPROVALS_READ)])
IdPath = Annotated[str, Path(max_length=64)]
Decides = needs(Permission.APPROVALS_DECIDE)


def documents(session: SessionDep, caller: CallerDep) -> Documents:
    return Documents(session, caller.tenant_id)


DocumentsDep = Annotated[Documents, Depends(documents)]


@router.get("/approvals")
def list_approvals(kept: DocumentsDep) -> PageOf[ApprovalRead]:
    """What waits for approvers, oldest first."""
    return PageOf(items=[approval_read(one) for one in kept.list_awaited(utc_now())], next=None)


@router.get("/approvals/{execution_id}")
def get_approval(execution_id: IdPath, kept: DocumentsDep) -> ApprovalRead:
    """What is to be signed, byte for byte."""
    return approval_read(kept.awaited(execution_id))


@router.post("/approvals/{execution_id}/signatures", dependencies=[Decides])
def approve(execution_id: IdPath, asked: SignatureAsked, desk: ExecutionDeskDep, caller: CallerDep) -> ExecutionRead:
    """Brings one approver's signature; with the last that is needed the execution goes out."""
    signature = Signature(asked.key_id, asked.signature_base64)
    return execution_read(desk.approve(caller, execution_id, signature, utc_now()))


@router.post("/approvals/{execution_id}/break-glass", dependencies=[needs(Permission.REQUEST_FIX)])
def break_glass(execution_id: IdPath, asked: GlassAsked, desk: ExecutionDeskDep, caller: CallerDep) -> ExecutionRead:
    """Brings what the offline key signed instead of an approver: for emergencies, and a security event."""
    return execution_read(desk.break_glass(caller, execution_id, asked.envelope, utc_now()))


@router.post("/approvals/{execution_id}/refuse", dependencies=[Decides])
def refuse(execution_id: IdPath, asked: RefusalAsked, desk: ExecutionDeskDep, caller: CallerDep) -> ExecutionRead:
    """Ends the execution: it will not be allowed."""
    return execution_read(desk.refuse(caller, execution_id, asked.reason, utc_now()))


@router.get("/permits")
def list_permits(kept: DocumentsDep, executions: ExecutionServiceDep) -> PageOf[PermitRead]:
    """Shift permits of the last 30 days, newest first, with how often each was used."""
    rows = kept.list_permits(utc_now())
    used = executions.permit_uses([row.id for row in rows])
    return PageOf(items=[permit_read(row, used.get(row.id, 0)) for row in rows], next=None)


@router.post("/permits", status_code=201, dependencies=[Decides])
def add_permit(
    asked: PermitAsked, kept: DocumentsDep, session: SessionDep, caller: CallerDep, request: Request
) -> PermitRead:
    """Takes a permit that an approver signed."""
    now = utc_now()
    row = kept.add_permit(asked.envelope, request.app.state.dispatcher.policy(now), now, asked.devices)
    data = {"permit": row.id, "actions": row.actions, "until": row.not_after.isoformat()}
    record(session, caller, "permit_added", row.id, data, personal={"people": row.people}, now=now)
    return permit_read(row, 0)


@router.post("/permits/{permit_id}/withdraw", dependencies=[Decides])
def withdraw_permit(
    permit_id: IdPath, kept: DocumentsDep, session: SessionDep, caller: CallerDep, executions: ExecutionServiceDep
) -> PermitRead:
    """Nothing more is asked on it."""
    now = utc_now()
    row = kept.withdraw_permit(permit_id, now)
    record(session, caller, "permit_withdrawn", row.id, {"permit": row.id}, now=now)
    return permit_read(row, executions.permit_uses([row.id]).get(row.id, 0))
