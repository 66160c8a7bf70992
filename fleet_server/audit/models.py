"""The audit table: appended to, never changed."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index
from sqlmodel import Field, SQLModel

from fleet_server.timeline.models import BigId


class AuditEntry(SQLModel, table=True):
    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_tenant_at", "tenant_id", "at"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    tenant_id: str = Field(max_length=64)
    at: datetime
    actor: str = Field(max_length=120)
    action: str = Field(index=True, max_length=64)
    target: str = Field(default="", index=True, max_length=120)
    address: str = Field(default="", max_length=64)
    data: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
