"""What was asked of approvers, and what they signed. Nothing of it is believed: signer and terminal judge it anew."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index, Text
from sqlmodel import Field, SQLModel

# In the place of people's names.
BREAK_GLASS = "(break-glass)"


class Approval(SQLModel, table=True):
    """``payload``: the very text that approvers sign, an `protocol.authorisations.Authorisation` as JSON."""

    __table_args__ = (Index("ix_approval_open", "tenant_id", "is_open", "created_at"),)

    execution_id: str = Field(primary_key=True, max_length=36)
    tenant_id: str = Field(max_length=64)
    device_id: str = Field(max_length=64)
    action: str = Field(max_length=100)
    requester: str = Field(max_length=120)
    payload: str = Field(sa_column=Column(Text, nullable=False))
    needed: int
    is_open: bool = True
    created_at: datetime
    expires_at: datetime


class ApprovalSignature(SQLModel, table=True):
    """One person's. ``person``: as the policy names the key."""

    __tablename__ = "approval_signature"

    execution_id: str = Field(primary_key=True, max_length=36)
    person: str = Field(primary_key=True, max_length=120)
    tenant_id: str = Field(max_length=64)
    key_id: str = Field(max_length=32)
    signature: str = Field(max_length=128)
    signed_at: datetime


class ShiftPermit(SQLModel, table=True):
    """``envelope``: the DSSE envelope as terminals get it; the columns are what it says, for lists. ``devices``: of a
    permit that names the root of a list instead of devices, that list, in its order; None: of one that names them.
    """

    __tablename__ = "shift_permit"
    __table_args__ = (Index("ix_shift_permit_live", "tenant_id", "not_after"),)

    id: str = Field(primary_key=True, max_length=36)
    tenant_id: str = Field(max_length=64)
    people: str = Field(max_length=400)  # who signed, separated by commas
    envelope: str = Field(sa_column=Column(Text, nullable=False))
    actions: list[Any] = Field(sa_column=Column(JSON, nullable=False))
    devices: list[Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    target_count: int
    max_count: int
    max_per_device: int
    reason: str = Field(default="", max_length=300)
    not_before: datetime
    not_after: datetime
    created_at: datetime
    withdrawn_at: datetime | None = None
