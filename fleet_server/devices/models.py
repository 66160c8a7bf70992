"""Tables of sites and devices. A gateway is a device and a link; an attached device speaks through its link."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index
from sqlmodel import Field, SQLModel

from fleet_server.timeline.models import BigId


class Site(SQLModel, table=True):
    """Where devices stand: the merchant, whom to call, the place, its time zone, its declared trading hours (local, per
    day). Services show it as `fleet_server.sites.shown` lets them.
    """

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(index=True, max_length=64)
    merchant_id: str = Field(index=True, max_length=32)
    merchant_name_zh: str = Field(max_length=120)
    merchant_name_en: str = Field(max_length=120)
    name_zh: str = Field(max_length=120)
    name_en: str = Field(max_length=120)
    city_zh: str = Field(default="", max_length=80)
    city_en: str = Field(default="", max_length=80)
    phone: str = Field(default="", index=True, max_length=32)
    contact_name: str = Field(default="", max_length=80)
    address: str = Field(default="", max_length=240)
    contact_at: datetime | None = None  # when whom to call was last said; null: before that was written down
    timezone: str = Field(max_length=64)
    # [["06:00", "22:00"], …] for every day, or null: then the habit is learned from when the device was heard.
    trading_hours: list[list[str]] | None = Field(default=None, sa_column=Column(JSON))


class Device(SQLModel, table=True):
    __table_args__ = (
        Index("ix_device_serial_tail", "tenant_id", "serial_tail"),
        Index("ix_device_attached", "link_id", "line"),
        Index("ix_device_worst_first", "tenant_id", "condition_rank", "id"),
        Index("ix_device_missed", "tenant_id", "expected_by"),
    )

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(index=True, max_length=64)
    link_id: str = Field(max_length=64)  # its own id, or the gateway's
    kind: str = Field(max_length=16)  # terminal, gateway, attached
    line: str | None = Field(default=None, max_length=32)
    site_id: str = Field(foreign_key="site.id", index=True, max_length=64)
    serial_number: str = Field(index=True, max_length=64)
    serial_tail: str = Field(max_length=6)  # last six characters, lower case: what a merchant reads from the label
    terminal_id: str | None = Field(default=None, index=True, max_length=32)
    model: str = Field(max_length=80)
    terminal_class: str = Field(max_length=16)
    family: str = Field(default="", max_length=32)
    firmware: str = Field(default="", max_length=80)
    label_zh: str = Field(max_length=120)
    label_en: str = Field(max_length=120)
    sim_phone: str | None = Field(default=None, max_length=32)
    # Names and numbers it may be asked for by, lower case, separated by line feeds (`fleet_server.devices.asking`).
    search_text: str = Field(default="", max_length=2000)
    enrolled_at: datetime
    retired_at: datetime | None = None

    presence: str = Field(default="unknown", max_length=16)  # online, offline, unknown
    presence_since: datetime | None = None
    presence_reason: str = Field(default="", max_length=80)
    last_seen_at: datetime | None = None
    # When it is missed: last seen, its report interval and one and a half keepalives. Null: not to be missed.
    expected_by: datetime | None = None
    session: str = Field(default="", max_length=32)
    ended_session: str = Field(default="", max_length=32)  # a will may arrive before the hello of its session
    nonce: str = Field(default="", max_length=32)
    boot: str = Field(default="", max_length=32)
    agent_version: str = Field(default="", max_length=64)
    profile: str = Field(default="", max_length=16)
    keepalive_s: float = 60.0
    report_s: float = 60.0
    capability_digest: str = Field(default="", max_length=64)
    # The device's wall clock minus ours, and our clock minus its monotonic one, at its last hello. The second places
    # its records in time also when its wall clock was set in between.
    clock_offset_ms: int | None = Field(default=None, sa_type=BigId)
    mono_offset_ms: int | None = Field(default=None, sa_type=BigId)
    command_counter: int = 0

    # What the fleet page shows and sorts by; kept by `fleet_server.devices.condition` with every change.
    condition: str = Field(default="unknown", max_length=16)  # faulty, silent, watch, well, off, unknown
    condition_rank: int = 5  # 0 worst
    condition_since: datetime | None = None
    worst_code: str = Field(default="", max_length=80)  # of the open fault that explains it


class Capability(SQLModel, table=True):
    """What a device last declared (`protocol.capabilities.DeviceCapabilities` as JSON)."""

    device_id: str = Field(primary_key=True, foreign_key="device.id", max_length=64)
    tenant_id: str = Field(max_length=64)
    digest: str = Field(max_length=64)
    document: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    received_at: datetime


class HeardHour(SQLModel, table=True):
    """An hour (its start, UTC) in which a device was heard: what its habit is learned from."""

    __tablename__ = "heard_hour"

    device_id: str = Field(primary_key=True, foreign_key="device.id", max_length=64)
    hour_at: datetime = Field(primary_key=True)
    tenant_id: str = Field(max_length=64)
