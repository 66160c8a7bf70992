"""Tables of inspections: the plan, its rounds (one a local day and time zone), and each device's turn in a round."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index
from sqlmodel import Field, SQLModel


class Inspection(SQLModel, table=True):
    """Which checks, of which devices, when. ``planned_from``: windows that opened before it are not looked for."""

    __table_args__ = (Index("ix_inspection_tenant", "tenant_id", "id"),)

    id: str = Field(primary_key=True, max_length=36)  # UUIDv7
    tenant_id: str = Field(max_length=64)
    name: str = Field(max_length=80)
    checks: list[str] = Field(sa_column=Column(JSON, nullable=False))
    days: list[int] = Field(sa_column=Column(JSON, nullable=False))  # 1 Monday to 7 Sunday
    at_local: str = Field(max_length=5)  # HH:MM on the clocks where the devices stand
    window_min: int
    # `fleet_server.inspections.plans.Group` as JSON.
    devices: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    state: str = Field(max_length=8)  # active, paused, ended
    version: int = 1
    created_by: str = Field(max_length=120)
    created_at: datetime
    changed_at: datetime
    planned_from: datetime


class InspectionRound(SQLModel, table=True):
    """The turns of one local day in one time zone. ``planned_after``: up to which device turns were made; null when
    all are. ``reason`` of a round that is missed as a whole: why.
    """

    __tablename__ = "inspection_round"
    __table_args__ = (Index("ix_inspection_round_opens", "tenant_id", "opens_at"),)

    inspection_id: str = Field(primary_key=True, max_length=36)
    local_date: str = Field(primary_key=True, max_length=10)
    timezone: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(max_length=64)
    opens_at: datetime
    closes_at: datetime
    devices: int = 0
    planned_after: str | None = Field(default=None, max_length=64)
    reason: str = Field(default="", max_length=32)


class InspectionTurn(SQLModel, table=True):
    """One device in one round. ``results``: by check its execution and, once it ended, what became of it."""

    __tablename__ = "inspection_turn"
    __table_args__ = (
        Index("ix_inspection_turn_due", "state", "due_at"),
        Index("ix_inspection_turn_device", "tenant_id", "device_id", "due_at"),
    )

    inspection_id: str = Field(primary_key=True, max_length=36)
    local_date: str = Field(primary_key=True, max_length=10)
    device_id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(max_length=64)
    timezone: str = Field(max_length=64)
    due_at: datetime
    closes_at: datetime
    state: str = Field(max_length=8)  # waiting, asked, done, missed
    outcome: str = Field(default="", max_length=16)  # the worst of its checks
    reason: str = Field(default="", max_length=32)  # of a turn that is missed
    results: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    asked_at: datetime | None = None
    ended_at: datetime | None = None
