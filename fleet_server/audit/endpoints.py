"""HTTP door of the audit. Reading it and taking it away are written down before the first word is given."""

from collections.abc import Iterator
from threading import BoundedSemaphore
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from fleet_server.access import CallerDep, needs
from fleet_server.audit.anchoring import AnchorService
from fleet_server.audit.anchors import PUBLIC, anchor_public_keys
from fleet_server.audit.files import AuditFormat
from fleet_server.audit.reading import audit_file, note_reading, without_personal
from fleet_server.audit.schemas import (
    AnchorGiven,
    AnchorRead,
    AuditRead,
    HeadRead,
    anchor_read,
    audit_read,
)
from fleet_server.audit.service import AuditFilter, AuditService
from fleet_server.auth.roles import Permission
from fleet_server.errors import FleetError
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import AskedMoment, Cursor, Limit, PageOf
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])

_READ = needs(Permission.AUDIT_READ)
_EXPORT = needs(Permission.AUDIT_EXPORT)
Condition = Annotated[str | None, Query(max_length=120)]
Since = Annotated[AskedMoment | None, Query(alias="from")]
Until = Annotated[AskedMoment | None, Query(alias="to", description="left out")]
Behind = Annotated[int, Query(ge=0, le=2**53, description="entries with a higher `seq` only")]


class TooManyAuditExports(FleetError):
    code = "too_many_exports"
    status = 429


@router.get("", dependencies=[_READ])
def list_audit(
    request: Request,
    caller: CallerDep,
    database: SessionDep,
    actor: Condition = None,
    action: Condition = None,
    target: Condition = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[AuditRead]:
    """Who did what, newest first. That it was read is an entry itself."""
    where = AuditFilter(actor, action, target, since, until)
    note_reading(request.app.state.engine, caller, "audit_read", where.as_data())
    page = AuditService(database, caller.tenant_id).page(where, cursor, limit)
    lines = page.items if caller.may(Permission.PERSONAL_READ) else without_personal(page.items)
    return PageOf(items=[audit_read(line) for line in lines], next=page.next)


@router.get(
    "/export",
    dependencies=[_EXPORT],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}, "application/jsonl": {}}}},
)
def export_audit(
    request: Request,
    caller: CallerDep,
    actor: Condition = None,
    action: Condition = None,
    target: Condition = None,
    since: Since = None,
    until: Until = None,
    behind: Behind = 0,
    file_format: Annotated[AuditFormat, Query(alias="format")] = AuditFormat.JSONL,
) -> StreamingResponse:
    """The audit as a file, oldest first. Without conditions it can be verified by `fleet-server audit verify`."""
    held: BoundedSemaphore = request.app.state.exports
    if not held.acquire(blocking=False):
        raise TooManyAuditExports("as many exports as may run at once are running: come again when one has ended")
    where = AuditFilter(actor, action, target, since, until)
    chunks = _held(held, audit_file(request.app.state.engine, caller, where, file_format, behind))
    # Up to the first row everything can still be refused in words.
    next(chunks)
    disposition = {"Content-Disposition": f'attachment; filename="audit-{utc_now():%Y%m%d}.{file_format}"'}
    return StreamingResponse(chunks, media_type=file_format.media_type, headers=disposition)


@router.get("/head", dependencies=[_EXPORT])
def audit_head(caller: CallerDep, database: SessionDep) -> HeadRead:
    """Where the chain ends now."""
    head = AnchorService(database, caller.tenant_id).head()
    return HeadRead(tenant=caller.tenant_id, seq=head.seq, row_hash=head.row_hash)


@router.get("/anchors", dependencies=[_EXPORT])
def list_anchors(request: Request, caller: CallerDep, database: SessionDep) -> PageOf[AnchorRead]:
    """All signed statements about the chain, lowest place first: keep them where nobody of this server can write."""
    signed = AnchorService(database, caller.tenant_id).signed(_keys(request))
    return PageOf(items=[anchor_read(one) for one in signed], next=None)


@router.post("/anchors", status_code=201, dependencies=[_EXPORT])
def add_anchor(request: Request, caller: CallerDep, database: SessionDep, given: AnchorGiven) -> AnchorRead:
    """Takes a statement that was signed on another machine, when it fits the chain."""
    signed = AnchorService(database, caller.tenant_id).take(given.envelope, _keys(request), caller, utc_now())
    return anchor_read(signed)


def _keys(request: Request) -> Any:
    return anchor_public_keys(request.app.state.settings.keys_dir / PUBLIC)


def _held(held: BoundedSemaphore, chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    finally:
        held.release()
