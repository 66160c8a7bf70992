"""Tables of what lets a link in: codes, certificates, and what ended them."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel


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


class Enrolment(SQLModel, table=True):
    """One code and what became of it; or, of kind ``return``, a device that slept past its grace and asks to come back.

    Invariant: the id of the device is made with the code, so that an answer that was lost is given again.
    """

    __table_args__ = (Index("ix_enrolment_by_state", "tenant_id", "state", "id"),)

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(max_length=64)
    kind: str = Field(max_length=8)  # new, return
    state: str = Field(max_length=12)  # open, pending, approved, done, refused, withdrawn
    secret_sha256: str | None = Field(default=None, unique=True, max_length=64)
    device_id: str = Field(index=True, max_length=64)
    serial_number: str = Field(max_length=64)
    model: str = Field(max_length=80)
    terminal_class: str = Field(max_length=16)
    label_zh: str = Field(default="", max_length=120)
    label_en: str = Field(default="", max_length=120)
    # Null: a person has to say where it stands before it is let in.
    site_id: str | None = Field(default=None, foreign_key="site.id", max_length=64)
    needs_approval: bool = False
    key_sha256: str = Field(default="", max_length=64)
    address: str = Field(default="", max_length=64)
    wrong_tries: int = 0
    created_by: str = Field(max_length=120)
    created_at: datetime
    expires_at: datetime
    asked_at: datetime | None = None
    decided_by: str = Field(default="", max_length=120)
    decided_at: datetime | None = None


class Retirement(SQLModel, table=True):
    """A device that was taken out of service. ``link_id``: whose messages are to be looked at anew."""

    __table_args__ = (Index("ix_retirement_at", "at"),)

    device_id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(max_length=64)
    link_id: str = Field(max_length=64)
    reason: str = Field(max_length=16)  # stolen, swapped, retired, compromised
    note: str = Field(default="", max_length=300)
    retired_by: str = Field(max_length=120)
    at: datetime
    # When the broker was seen to refuse it; null: it is being shut out.
    enforced_at: datetime | None = Field(default=None, index=True)
