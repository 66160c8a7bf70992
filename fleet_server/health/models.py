"""Tables of health: blocks as they came, and the latest value of each metric."""

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from fleet_server.timeline.models import BigId


class HealthBlock(SQLModel, table=True):
    """One `protocol.records.HealthColumns`: the columns as deflated JSON, one row a record."""

    __tablename__ = "health_block"
    __table_args__ = (
        UniqueConstraint("link_id", "stream", "seq", name="uq_health_block_record"),
        Index("ix_health_block_device", "device_id", "start_at"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    tenant_id: str = Field(max_length=64)
    link_id: str = Field(max_length=64)
    stream: str = Field(max_length=32)
    seq: int = Field(sa_type=BigId)
    device_id: str = Field(max_length=64)
    start_at: datetime
    step_ms: int
    steps: int
    columns: bytes
    received_at: datetime


class LatestValue(SQLModel, table=True):
    """The newest sample of each metric of a device; exactly one of ``number`` and ``text`` is set.

    ``is_abnormal`` and ``crossed_at``: the side of its normal range on which the metric stands (`catalogue.sides`);
    null where it cannot be judged.
    """

    __tablename__ = "latest_value"

    device_id: str = Field(primary_key=True, max_length=64)
    metric: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(max_length=64)
    at: datetime
    number: float | None = None
    text: str | None = Field(default=None, max_length=64)
    is_abnormal: bool | None = None
    crossed_at: datetime | None = None
