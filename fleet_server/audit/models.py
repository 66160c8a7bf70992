"""The audit: entries that are appended to a chain and never changed, its head, its anchors, and what of an entry is
personal.

The database itself refuses an entry that does not go on from its tenant's head, and any change of one (migrations 0002
and the one that made the chain); the head moves by a trigger of the entries alone.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from fleet_server.timeline.models import BigId


class AuditEntry(SQLModel, table=True):
    """``actor`` and, where it is a person, ``target`` hold ``person:ID`` (`fleet_server.audit.subjects`), no name."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        UniqueConstraint("tenant_id", "seq", name="uq_audit_place"),
        Index("ix_audit_tenant_at", "tenant_id", "at"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    tenant_id: str = Field(max_length=64)
    seq: int = Field(sa_type=BigId, sa_column_kwargs={"autoincrement": False})  # from 1 in each tenant, without holes
    at: datetime
    actor: str = Field(max_length=120)
    action: str = Field(index=True, max_length=64)
    target: str = Field(default="", index=True, max_length=120)
    data: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    aside: str = Field(default="", max_length=64)  # commitment to the row of `AuditAside`; "": there never was one
    prev_hash: str = Field(max_length=64)
    row_hash: str = Field(max_length=64)


class AuditAside(SQLModel, table=True):
    """What of an entry is about a person, such as an address: it can be erased, the entry stays and so does its hash,
    which covers a salted commitment only.
    """

    __tablename__ = "audit_aside"

    tenant_id: str = Field(primary_key=True, max_length=64)
    seq: int = Field(primary_key=True, sa_type=BigId, sa_column_kwargs={"autoincrement": False})
    salt: str = Field(max_length=32)
    document: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class AuditHead(SQLModel, table=True):
    """The last entry of a tenant's chain; holding this row is the right to append."""

    __tablename__ = "audit_head"

    tenant_id: str = Field(primary_key=True, max_length=64)
    seq: int = Field(sa_type=BigId)
    row_hash: str = Field(max_length=64)
    # Of no meaning: the one column that a role needs a right to change in order to hold the row.
    held: int = 0


class AuditAnchor(SQLModel, table=True):
    """A signed statement about the chain (`fleet_server.audit.anchors`). The columns beside ``envelope`` repeat it and
    prove nothing.
    """

    __tablename__ = "audit_anchor"

    tenant_id: str = Field(primary_key=True, max_length=64)
    kind: str = Field(primary_key=True, max_length=8)  # head, stub
    seq: int = Field(primary_key=True, sa_type=BigId, sa_column_kwargs={"autoincrement": False})
    signed_at: datetime
    envelope: str = Field(max_length=4000)
