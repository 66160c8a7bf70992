"""Tables of health: blocks of samples, rollups of them, and what each device said last.

On PostgreSQL blocks and rollups are partitioned by time (`fleet_server.health.partitions`). Ids of blocks ascend with
the commits of a device, because its row of `DeviceHealth` is held before they are given: ``folded_id`` parts what is in
the rollups already from what is not.
"""

from datetime import datetime

from sqlalchemy import Column, Index, Text
from sqlalchemy import text as sql_text
from sqlmodel import Field, SQLModel

from fleet_server.timeline.models import BigId

_IS_TEXT = sql_text("text IS NOT NULL")


class HealthBlock(SQLModel, table=True):
    """One `protocol.records.HealthColumns`, its columns as in `fleet_server.health.packing`; one row a record."""

    __tablename__ = "health_block"
    __table_args__ = (Index("ix_health_block_device", "device_id", "start_at"),)

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


class _Rollup(SQLModel):
    """All buckets of a device in one span (`fleet_server.health.rollups`)."""

    device_id: str = Field(primary_key=True, max_length=64)
    span_at: datetime = Field(primary_key=True)
    tenant_id: str = Field(max_length=64)
    packed: bytes


class HealthFiveMinutes(_Rollup, table=True):
    __tablename__ = "health_5min"


class HealthHours(_Rollup, table=True):
    __tablename__ = "health_hour"


class HealthDays(_Rollup, table=True):
    __tablename__ = "health_day"


class DeviceHealth(SQLModel, table=True):
    """The newest sample of each metric of a device (`fleet_server.health.latest`), one row a device.

    ``unfolded_since``: where the oldest block begins that is in no rollup yet; null: none is. ``fold_at``: when that is
    to be done.
    """

    __tablename__ = "device_health"
    __table_args__ = (Index("ix_device_health_fold", "tenant_id", "fold_at"),)

    device_id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(max_length=64)
    latest: str = Field(sa_column=Column(Text, nullable=False))
    unfolded_since: datetime | None = None
    unfolded: int = 0  # blocks
    fold_at: datetime | None = None
    folded_id: int = Field(default=0, sa_type=BigId)


class ValueInterval(SQLModel, table=True):
    """Where a newest value lies: by this the fleet is searched. A number is somewhere from ``low`` to ``high``, which
    stay while it wanders within them; a text is what it is.
    """

    __tablename__ = "value_interval"
    __table_args__ = (
        Index("ix_value_interval_low", "tenant_id", "metric", "low"),
        Index("ix_value_interval_high", "tenant_id", "metric", "high"),
        Index(
            "ix_value_interval_text", "tenant_id", "metric", "text", postgresql_where=_IS_TEXT, sqlite_where=_IS_TEXT
        ),
    )

    device_id: str = Field(primary_key=True, max_length=64)
    metric: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(max_length=64)
    low: float | None = None
    high: float | None = None
    text: str | None = Field(default=None, max_length=64)
