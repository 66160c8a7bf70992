"""A small fleet written straight into a database: one shop, one gateway with two attached devices, two terminals."""

from __future__ import annotations

from sqlalchemy import Engine

from fleet_server.db import transaction
from fleet_server.devices.models import Device, Site
from fleet_server.kit.times import utc_now

TENANT = "default"
GATEWAY = "d-gateway00000001"
PRINTER = "d-printer00000001"
PINPAD = "d-pinpad000000001"
TERMINAL = "d-terminal0000001"
OTHER = "d-terminal0000002"
STRANGER = "d-stranger0000001"


def make_fleet(engine: Engine, trading_hours: list[list[str]] | None = None, tenant_id: str = TENANT) -> None:
    site = Site(
        id=f"site-{tenant_id}",
        tenant_id=tenant_id,
        merchant_id="898310000000001",
        merchant_name_zh="好味道餐厅",
        merchant_name_en="Good Taste",
        name_zh="总店",
        name_en="Main",
        timezone="Asia/Shanghai",
        trading_hours=trading_hours,
    )
    with transaction(engine) as session:
        session.add(site)
        session.flush()
        session.add(device(GATEWAY, site.id, "gateway", tenant_id=tenant_id))
        session.add(device(PRINTER, site.id, "attached", link=GATEWAY, line="line0", tenant_id=tenant_id))
        session.add(device(PINPAD, site.id, "attached", link=GATEWAY, line="line1", tenant_id=tenant_id))
        session.add(device(TERMINAL, site.id, "terminal", tenant_id=tenant_id))
        session.add(device(OTHER, site.id, "terminal", tenant_id=tenant_id))


def device(
    id_: str, site_id: str, kind: str, *, link: str | None = None, line: str | None = None, tenant_id: str = TENANT
) -> Device:
    return Device(
        id=id_,
        tenant_id=tenant_id,
        link_id=link or id_,
        kind=kind,
        line=line,
        site_id=site_id,
        serial_number=f"SN{id_}",
        serial_tail=id_[-6:],
        model="Model",
        terminal_class="smart",
        label_zh="终端",
        label_en="Terminal",
        enrolled_at=utc_now(),
    )
