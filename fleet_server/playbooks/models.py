"""Tables of playbooks: each walk on a device with its definition as of its start, and each step of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index, false, text
from sqlmodel import Field, SQLModel


class PlaybookRun(SQLModel, table=True):
    """``definition``: `protocol.playbooks.language.Playbook`, which no later version changes. ``due_at``: when to look
    again; null: when the present step ends. One walk of a device is open at a time.
    """

    __tablename__ = "playbook_run"
    __table_args__ = (
        Index("ix_playbook_run_device", "tenant_id", "device_id", "started_at"),
        Index("ix_playbook_run_open", "tenant_id", "is_open", "id"),
        Index(
            "ux_playbook_run_open",
            "device_id",
            unique=True,
            sqlite_where=text("is_open"),
            postgresql_where=text("is_open"),
        ),
    )

    id: str = Field(primary_key=True, max_length=36)  # UUIDv7
    tenant_id: str = Field(max_length=64)
    device_id: str = Field(max_length=64)
    playbook: str = Field(max_length=48)
    version: int
    definition: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    given: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))  # variables, by whoever started it
    danger_class: int  # the highest of its steps, as the device declares them
    started_by: str = Field(max_length=120)
    starter_id: str = Field(max_length=36)
    starter_kind: str = Field(max_length=8)
    started_at: datetime
    is_open: bool = True
    due_at: datetime | None = None
    cancel_asked_at: datetime | None = None
    cancel_asked_by: str = Field(default="", max_length=120)
    end_name: str = Field(default="", max_length=48)  # one of the definition's, or none and ``why``
    end_kind: str = Field(default="", max_length=16)
    why: str = Field(default="", max_length=32)
    code: str = Field(default="", max_length=80)  # of what was refused
    ended_at: datetime | None = None


class PlaybookStep(SQLModel, table=True):
    """``heard``: what it came to, once it is over; null of a wait, and of what the device does not have."""

    __tablename__ = "playbook_step"

    run_id: str = Field(primary_key=True, max_length=36)
    number: int = Field(primary_key=True)  # from 1
    tenant_id: str = Field(max_length=64)
    device_id: str = Field(max_length=64)
    step: str = Field(max_length=48)
    action: str = Field(default="", max_length=100)
    execution_id: str | None = Field(default=None, max_length=36)
    begun_at: datetime
    is_stopping: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    ended_at: datetime | None = None
    heard: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
