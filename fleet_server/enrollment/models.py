"""Tables of tenants and of the certificates that were issued to links."""

from datetime import datetime

from sqlmodel import Field, SQLModel


class Tenant(SQLModel, table=True):
    id: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=120)
    created_at: datetime


class IssuedCertificate(SQLModel, table=True):
    __tablename__ = "issued_certificate"

    serial: str = Field(primary_key=True, max_length=48)
    tenant_id: str = Field(max_length=64)
    link_id: str = Field(index=True, max_length=64)
    issued_at: datetime
    not_after: datetime
    revoked_at: datetime | None = None


class FleetKey(SQLModel, table=True):
    """Which row a key of an imported fleet file stands for, so that importing again changes nothing."""

    __tablename__ = "fleet_key"

    tenant_id: str = Field(primary_key=True, max_length=64)
    kind: str = Field(primary_key=True, max_length=8)  # site, device
    key: str = Field(primary_key=True, max_length=64)
    row_id: str = Field(max_length=64)
