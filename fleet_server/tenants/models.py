"""The table of tenants."""

from datetime import datetime

from sqlmodel import Field, SQLModel


class Tenant(SQLModel, table=True):
    """``suspended_at``: since when nobody of it is let in (`fleet_server.tenants.service`); null: it is not."""

    id: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=120)
    created_at: datetime
    suspended_at: datetime | None = None
