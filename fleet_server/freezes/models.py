"""The table of freezes: a span of time, of one tenant or of all."""

from datetime import datetime

from sqlalchemy import Index, false
from sqlmodel import Field, SQLModel


class Freeze(SQLModel, table=True):
    """From ``begins_at`` (in) to ``ends_at`` (out); one that was ended early ends there, and ``ended_by`` says by whom.
    ``of_all``: the operator of the installation declared it for every tenant; ``tenant_id`` is then his own.
    """

    __tablename__ = "change_freeze"
    __table_args__ = (
        Index("ix_change_freeze_tenant", "tenant_id", "ends_at"),
        Index("ix_change_freeze_of_all", "of_all", "ends_at"),
    )

    id: str = Field(primary_key=True, max_length=36)  # UUIDv7
    tenant_id: str = Field(max_length=64)
    of_all: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    begins_at: datetime
    ends_at: datetime
    reason: str = Field(max_length=300)
    created_by: str = Field(max_length=120)
    created_at: datetime
    ended_by: str = Field(default="", max_length=120)
