"""Tables that only the device door writes: records, watermarks, dead letters, and the installation's own state."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index
from sqlmodel import Field, SQLModel

from fleet_server.timeline.models import BigId


class StoredRecord(SQLModel, table=True):
    """An urgent record as it came: at most one row a key, so nothing is counted twice."""

    __tablename__ = "record"
    __table_args__ = (Index("ix_record_device", "device_id", "received_at"),)

    link_id: str = Field(primary_key=True, max_length=64)
    stream: str = Field(primary_key=True, max_length=32)
    seq: int = Field(primary_key=True, sa_type=BigId, sa_column_kwargs={"autoincrement": False})
    tenant_id: str = Field(max_length=64)
    device_id: str = Field(max_length=64)
    kind: str = Field(max_length=24)
    boot: str = Field(max_length=32)
    mono_ms: int = Field(sa_type=BigId)
    wall_ms: int = Field(sa_type=BigId)
    received_at: datetime
    body: str


class LinkStream(SQLModel, table=True):
    """How far a stream of a link is committed: `protocol.streams.Received`."""

    __tablename__ = "link_stream"
    __table_args__ = (Index("ix_link_stream_gap", "tenant_id", "gap_since"),)

    link_id: str = Field(primary_key=True, max_length=64)
    stream: str = Field(primary_key=True, max_length=32)
    tenant_id: str = Field(max_length=64)
    kind: str = Field(max_length=8)  # urgent, bulk
    upto: int = Field(default=0, sa_type=BigId)
    beyond: list[list[int]] = Field(sa_column=Column(JSON, nullable=False))
    last_known: int = Field(default=0, sa_type=BigId)  # highest number the agent said it has
    shed: int = Field(default=0, sa_type=BigId)
    updated_at: datetime
    gap_since: datetime | None = None
    gap_first: int = Field(default=0, sa_type=BigId)
    gap_last: int = Field(default=0, sa_type=BigId)
    gap_shown: bool = False  # the timeline shows it as open, until it is filled or declared


class DeadLetter(SQLModel, table=True):
    """What could not be understood: kept, counted, and passed over so that the watermark moves on."""

    __tablename__ = "dead_letter"
    __table_args__ = (Index("ix_dead_letter_link", "link_id", "id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    tenant_id: str = Field(max_length=64)
    link_id: str = Field(max_length=64)
    topic_kind: str = Field(max_length=16)
    stream: str | None = Field(default=None, max_length=32)
    seq: int | None = Field(default=None, sa_type=BigId)
    reason: str = Field(max_length=40)
    detail: str = Field(default="", max_length=240)
    content_type: str = Field(default="", max_length=60)
    payload: bytes  # at most 256 KiB, scrubbed of card numbers
    received_at: datetime


class ServerState(SQLModel, table=True):
    """Facts of the installation, such as ``db_epoch``."""

    __tablename__ = "server_state"

    name: str = Field(primary_key=True, max_length=40)
    value: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
