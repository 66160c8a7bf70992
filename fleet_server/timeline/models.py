"""The event table: the timeline, and the source of every event stream. Ids ascend in the order of commits."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, Integer
from sqlmodel import Field, SQLModel

# SQLite numbers only INTEGER primary keys by itself.
BigId = BigInteger().with_variant(Integer, "sqlite")


class Event(SQLModel, table=True):
    __table_args__ = (
        Index("ix_event_device_at", "device_id", "at", "id"),
        # For a timeline of some types only: one that the device never made would else be looked for in all it made.
        Index("ix_event_device_type_at", "device_id", "type", "at", "id"),
        Index("ix_event_device_id", "device_id", "id"),
        Index("ix_event_execution", "execution_id", "id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigId, primary_key=True, autoincrement=True))
    tenant_id: str = Field(max_length=64)
    device_id: str = Field(max_length=64)
    type: str = Field(max_length=24)
    execution_id: str | None = Field(default=None, max_length=36)
    at: datetime  # when it happened, by the device's clock corrected by its offset, never later than received
    received_at: datetime
    actor: str = Field(default="", max_length=120)
    data: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
