"""The ledger of executions. States move along `protocol.executions.TABLE`; each non-final one has a deadline."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Column, Index, false, text
from sqlmodel import Field, SQLModel

_NONE = text("'[]'")


class Execution(SQLModel, table=True):
    __table_args__ = (
        Index("ix_execution_device", "device_id", "created_at"),
        Index("ix_execution_due", "is_final", "deadline_at"),
        Index("ix_execution_permit", "permit_id"),
        Index("ix_execution_link_state", "link_id", "state"),
        Index("ix_execution_kind", "tenant_id", "kind", "created_at"),
        CheckConstraint("is_final OR deadline_at IS NOT NULL", name="deadline_while_open"),
    )

    id: str = Field(primary_key=True, max_length=36)  # UUIDv7
    tenant_id: str = Field(max_length=64)
    device_id: str = Field(max_length=64)
    link_id: str = Field(max_length=64)
    action: str = Field(max_length=100)
    kind: str = Field(max_length=8)
    danger_class: int
    params: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    # `protocol.capabilities.Action` as declared when it was asked for: pages show titles and steps from here.
    declared: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    actor: str = Field(max_length=120)
    override_reason: str | None = Field(default=None, max_length=500)
    # The same person also takes it upon themselves that it does not wait for a safe moment.
    override_holds: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    # Part of something for many devices: it starts in no freeze.
    is_planned: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    supersedes: str | None = Field(default=None, max_length=36)  # the execution whose place this one takes
    permit_id: str | None = Field(default=None, max_length=36)  # the shift permit that allows it, where one does
    asks_consent: bool = Field(default=False, sa_column_kwargs={"server_default": false()})  # of the merchant
    state: str = Field(max_length=20)
    is_final: bool = False
    outcome: str | None = Field(default=None, max_length=16)
    result: str | None = Field(default=None, max_length=16)  # `protocol.executions.Result`, once it is final
    code: str = Field(default="", max_length=80)
    detail: str = Field(default="", max_length=512)
    step: str = Field(default="", max_length=160)
    step_index: int = 0
    step_count: int = 0
    progress_pct: int | None = None
    output_tail: str = Field(default="", max_length=4096)
    attempt: int = 0
    cancel_asked_at: datetime | None = None
    cancel_asked_by: str = Field(default="", max_length=120)
    cancel_answer: str | None = Field(default=None, max_length=16)
    # What it waits for now, and what it would have waited for: names of `protocol.safety.Condition`;
    # among the second also `ledger.PRE_CHECK`.
    holds: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False, server_default=text("'[]'")))
    overridden: list[str] = Field(
        default_factory=list, sa_column=Column(JSON, nullable=False, server_default=text("'[]'"))
    )
    earliest_start: datetime | None = None
    retries: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    came_back_at: datetime | None = None
    created_at: datetime
    queued_until: datetime
    deadline_at: datetime | None = None  # of the present state; null once final
    published_at: datetime | None = None
    stored_at: datetime | None = None
    started_at: datetime | None = None
    verifying_at: datetime | None = None
    hold_until: datetime | None = None
    finished_at: datetime | None = None


class IdempotencyKey(SQLModel, table=True):
    """A caller's ``Idempotency-Key`` and the execution it made; kept 24 h."""

    __tablename__ = "idempotency_key"

    caller: str = Field(primary_key=True, max_length=120)
    key: str = Field(primary_key=True, max_length=120)
    tenant_id: str = Field(max_length=64)
    request_sha256: str = Field(max_length=64)
    execution_id: str = Field(max_length=36)
    expires_at: datetime
