"""What was asked to be erased. It is kept for good: a backup from before is brought back without whoever is in here."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index
from sqlmodel import Field, SQLModel


class Erasure(SQLModel, table=True):
    """``subject``: ``person:ID``, ``site:ID`` or ``words:ID``; ``words``: what is looked for in texts, gone at the end;
    ``place``: how far it came; ``counts``: rows by table.
    """

    __table_args__ = (Index("ix_erasure_open", "tenant_id", "done_at"),)

    id: str = Field(primary_key=True, max_length=36)
    tenant_id: str = Field(max_length=64)
    subject: str = Field(max_length=80)
    label: str = Field(max_length=40)  # what stands in its place
    words: list[str] = Field(sa_column=Column(JSON, nullable=False))
    asked_by: str = Field(max_length=120)  # a reference, as in the audit
    asked_at: datetime
    place: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    counts: dict[str, int] = Field(sa_column=Column(JSON, nullable=False))
    done_at: datetime | None = None
