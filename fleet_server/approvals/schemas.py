"""HTTP shapes of approvals and permits."""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Any

from pydantic import Field

from fleet_server.approvals.documents import Awaited, document_of, shown
from fleet_server.approvals.models import ShiftPermit
from fleet_server.kit.free_text import FreeText
from fleet_server.kit.schemas import Answer, Asked, Moment
from protocol.commands import AUTHORISATION_TYPE

# Of one permit: what a request of a mebibyte brings.
MAX_LISTED_DEVICES = 10_000
ListedDevice = Annotated[str, Field(min_length=8, max_length=64)]


class ApprovalRead(Answer):
    """``document_base64``: the bytes to be signed, as DSSE does (`payload_type`, pre-authentication encoding)."""

    execution: str
    device: str
    action: str
    requester: str
    document: dict[str, Any]
    document_base64: str
    document_sha256: str
    payload_type: str
    needed: int
    approved_by: list[str]
    created_at: Moment
    expires_at: Moment


class SignatureAsked(Asked):
    """An Ed25519 signature by the approver's key."""

    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    signature_base64: Annotated[str, Field(min_length=1, max_length=128)]


class RefusalAsked(Asked):
    reason: Annotated[str, Field(min_length=3, max_length=300), FreeText]


class GlassAsked(Asked):
    """The DSSE envelope as JSON text, as `fleet-server break-glass` makes it."""

    envelope: Annotated[str, Field(min_length=1, max_length=65536)]


class PermitAsked(Asked):
    """The DSSE envelope of the permit as JSON text, as `fleet-server permit` makes it. ``devices``: the list whose root
    it names, in its order; terminals are never told of the others in it.
    """

    envelope: Annotated[str, Field(min_length=1, max_length=65536)]
    devices: Annotated[list[ListedDevice], Field(default_factory=list, max_length=MAX_LISTED_DEVICES)]


class PermitRead(Answer):
    """``used``: executions asked on it so far."""

    id: str
    people: str
    actions: list[str]
    targets: list[str]
    max_count: int
    max_per_device: int
    used: int
    reason: str
    not_before: Moment
    not_after: Moment
    withdrawn_at: Moment | None


def approval_read(one: Awaited) -> ApprovalRead:
    payload = one.row.payload.encode()
    return ApprovalRead(
        execution=one.row.execution_id,
        device=one.row.device_id,
        action=one.row.action,
        requester=one.row.requester,
        document=shown(one.row.payload),
        document_base64=base64.b64encode(payload).decode(),
        document_sha256=hashlib.sha256(payload).hexdigest(),
        payload_type=AUTHORISATION_TYPE,
        needed=one.row.needed,
        approved_by=list(one.people),
        created_at=one.row.created_at,
        expires_at=one.row.expires_at,
    )


def permit_read(row: ShiftPermit, used: int) -> PermitRead:
    document = document_of(row.envelope)
    return PermitRead(
        id=row.id,
        people=row.people,
        actions=[str(one) for one in row.actions],
        targets=[str(one) for one in row.devices or ([] if document is None else document.targets)],
        max_count=row.max_count,
        max_per_device=row.max_per_device,
        used=used,
        reason=row.reason,
        not_before=row.not_before,
        not_after=row.not_after,
        withdrawn_at=row.withdrawn_at,
    )
