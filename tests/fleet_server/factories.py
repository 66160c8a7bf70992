"""Rows that tests start from: a site, a gateway with a terminal on its line, and what they declare."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlmodel import Session

from fleet_server.assignments.models import Assignment
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.devices.models import Capability, Device, Site
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings
from protocol.capabilities import Action, DeviceCapabilities, Step, StepNature
from protocol.commands import ActionKind, DangerClass
from protocol.parameters import Parameter, ParamType, Words

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TENANT = "default"
NONCE = "ab" * 16

ECHO = Action("agent.echo", ActionKind.CHECK, Words("回声", "Echo"), DangerClass.READS, 0.1, 10.0)
PING = Action(
    "net.path",
    ActionKind.CHECK,
    Words("网络路径", "Network path"),
    DangerClass.READS,
    1.0,
    10.0,
    params=[
        Parameter("count", Words("次数", "Count"), ParamType.INTEGER, unit="tries", default=3, minimum=1, maximum=9),
        Parameter("deep", Words("深入", "Deep"), ParamType.SWITCH, required=False),
    ],
)
PRINT = Action("printer.print_test", ActionKind.TEST, Words("打印", "Print"), DangerClass.CHANGES, 5.0, 30.0)
RESTART = Action(
    "app.restart",
    ActionKind.FIX,
    Words("重启应用", "Restart the application"),
    DangerClass.CHANGES,
    20.0,
    120.0,
    steps=[Step("restart", Words("重启", "Restart"), StepNature.IDEMPOTENT)],
    soak_s=60.0,
)
INSTALL = Action("app.install", ActionKind.FIX, Words("安装", "Install"), DangerClass.SOFTWARE, 20.0, 120.0)
ACTIONS = [ECHO, PING, PRINT, RESTART, INSTALL]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Ids of the rows that `add_fleet` made."""

    site: str
    gateway: str
    terminal: str  # on the gateway's line


def add_fleet(session: Session, name: str = "one", *, tenant: str = TENANT, presence: str = "online") -> Fleet:
    fleet = Fleet(f"s-{name}-0001", f"d-{name}-gateway", f"d-{name}-terminal")
    session.add(site(fleet.site, tenant))
    session.flush()
    session.add(device(fleet.gateway, fleet.site, tenant, kind="gateway", presence=presence, nonce=NONCE))
    attached = {"kind": "attached", "link_id": fleet.gateway, "line": "zvt0", "presence": presence}
    session.add(device(fleet.terminal, fleet.site, tenant, **attached))
    session.flush()
    for device_id in (fleet.gateway, fleet.terminal):
        session.add(capability(device_id, tenant))
    session.flush()
    return fleet


def site(site_id: str, tenant: str = TENANT, **more: Any) -> Site:
    values = {
        "id": site_id,
        "tenant_id": tenant,
        "merchant_id": f"898{site_id[-4:]}00000001",
        "merchant_name_zh": "晨光便利店",
        "merchant_name_en": "Dawn Convenience",
        "name_zh": "一号店",
        "name_en": "Shop one",
        "phone": "02155550101",
        "contact_name": "王小明",
        "address": "虚构路 12 号",
        "timezone": "Asia/Shanghai",
    }
    return Site(**{**values, **more})


def device(device_id: str, site_id: str, tenant: str = TENANT, **more: Any) -> Device:
    serial = f"SN{device_id.upper()}"
    values = {
        "id": device_id,
        "tenant_id": tenant,
        "link_id": device_id,
        "kind": "terminal",
        "site_id": site_id,
        "serial_number": serial,
        "serial_tail": serial[-6:].lower(),
        "terminal_id": f"T-{device_id}"[:32],
        "model": "Model X",
        "terminal_class": "traditional",
        "label_zh": "收银台一",
        "label_en": "Till one",
        "search_text": f"{serial.lower()}\nt-{device_id}\n晨光便利店\ndawn convenience",
        "enrolled_at": NOON,
    }
    return Device(**{**values, **more})


def assignment(
    assignee: str,
    *,
    device_id: str | None = None,
    site_id: str | None = None,
    tenant: str = TENANT,
    begins: timedelta = timedelta(hours=-1),
    ends: timedelta = timedelta(hours=1),
    created_by: str = "desk",
) -> Assignment:
    """From so long before or after now to so long after it. ``assignee``: the id of a person or a token."""
    now = utc_now()
    return Assignment(
        id=uuid7(now),
        tenant_id=tenant,
        assignee_id=assignee,
        device_id=device_id,
        site_id=site_id,
        begins_at=now + begins,
        ends_at=now + ends,
        created_by=created_by,
        created_at=now,
    )


def capability(device_id: str, tenant: str = TENANT) -> Capability:
    declared = DeviceCapabilities(device_id, "zvt", "traditional", ACTIONS, ["batt.level_pct"])
    return Capability(
        device_id=device_id,
        tenant_id=tenant,
        digest="d" * 64,
        document=msgspec.to_builtins(declared),
        received_at=NOON,
    )


def actor(role: Role = Role.SUPPORT, *, tenant: str = TENANT, name: str = "lin") -> Actor:
    return Actor(id=f"id-{name}", name=name, role=role, tenant_id=tenant, kind=ActorKind.PERSON)


def settings(data: Path, *, demo: bool = True, database_url: str = "sqlite://") -> ServerSettings:
    return ServerSettings(
        data=data,
        database_url=database_url,
        mqtt_host="127.0.0.1",
        mqtt_port=1,
        http_host="127.0.0.1",
        http_port=1,
        url="http://127.0.0.1:1",
        ingest_group="g-" + "0" * 32,
        tenant=TENANT,
        demo=demo,
        http_requests_per_s_per_address=0,
        sign_in_without_second_factor=demo,
    )
