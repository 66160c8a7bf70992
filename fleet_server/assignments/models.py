"""The table of assignments: a device or a site, to a technician, for a span of time."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel


class Assignment(SQLModel, table=True):
    """Either ``device_id`` or ``site_id``. ``assignee_id``: of a person or a token. From ``begins_at`` (in) to
    ``ends_at`` (out); one that was ended early ends there.
    """

    __table_args__ = (
        CheckConstraint("(device_id IS NULL) <> (site_id IS NULL)", name="ck_assignment_of_one"),
        Index("ix_assignment_assignee", "tenant_id", "assignee_id", "ends_at"),
    )

    id: str = Field(primary_key=True, max_length=36)  # UUIDv7
    tenant_id: str = Field(max_length=64)
    assignee_id: str = Field(max_length=36)
    device_id: str | None = Field(default=None, index=True, max_length=64)
    site_id: str | None = Field(default=None, index=True, max_length=64)
    begins_at: datetime
    ends_at: datetime
    created_by: str = Field(max_length=120)
    created_at: datetime
