"""HTTP shapes of the audit."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from fleet_server.audit.anchors import Signed
from fleet_server.audit.service import AuditLine
from fleet_server.kit.schemas import Answer, Asked, Moment
from fleet_server.kit.times import from_us


class AuditRead(Answer):
    """``personal``: what is kept beside the chain and can be erased, for those who may see it. ``row_hash`` is the
    entry's place in the chain.
    """

    seq: int
    at: Moment
    actor: str
    action: str
    target: str
    data: dict[str, Any]
    personal: dict[str, Any]
    row_hash: str


class HeadRead(Answer):
    """The last entry of this tenant's chain; `seq` 0: there is none."""

    tenant: str
    seq: int
    row_hash: str


class AnchorRead(Answer):
    """``envelope`` is the DSSE envelope as it was signed; the rest repeats what it says."""

    kind: str
    seq: int
    row_hash: str
    signed_at: Moment
    envelope: str


class AnchorGiven(Asked):
    envelope: Annotated[str, Field(min_length=2, max_length=4000)]


def audit_read(line: AuditLine) -> AuditRead:
    return AuditRead(
        seq=line.seq,
        at=line.at,
        actor=line.actor,
        action=line.action,
        target=line.target,
        data=dict(line.data),
        personal=dict(line.personal),
        row_hash=line.row_hash,
    )


def anchor_read(signed: Signed) -> AnchorRead:
    said = signed.statement
    return AnchorRead(
        kind=said.kind.value,
        seq=said.seq,
        row_hash=said.row_hash,
        signed_at=from_us(said.signed_at_us),
        envelope=signed.envelope,
    )
