"""The fault table. A raising is named by device, code and the moment the device first saw it, so that a clearing which
arrives first still ends it.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field, SQLModel


class Fault(SQLModel, table=True):
    __table_args__ = (
        UniqueConstraint("device_id", "code", "raised_ms", name="uq_fault_raising"),
        Index("ix_fault_open", "tenant_id", "is_open", "device_id"),
        Index("ix_fault_device", "device_id", "raised_at"),
    )

    id: str = Field(primary_key=True, max_length=36)
    tenant_id: str = Field(max_length=64)
    device_id: str = Field(max_length=64)
    code: str = Field(index=True, max_length=80)
    severity: str = Field(max_length=16)
    raised_ms: int = Field(sa_type=BigInteger)
    raised_at: datetime
    last_seen_at: datetime
    cleared_at: datetime | None = None
    is_open: bool
    count: int = 1
    evidence: str = Field(default="", max_length=512)
