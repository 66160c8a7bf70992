"""HTTP shapes of devices: identity, place, presence, and what each can do."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field

from fleet_server.devices.service import DeviceAtSite
from fleet_server.faults.schemas import FaultRead
from fleet_server.kit.schemas import Answer, Moment, Words
from fleet_server.sites.shown import SiteShown
from protocol.capabilities import Action, DeviceCapabilities
from protocol.commands import ActionKind
from protocol.parameters import Parameter


class SiteRead(Answer):
    """``masked``: contact, phone and address are there, and shown in part only."""

    id: str
    merchant_id: str
    merchant_name: Words
    name: Words
    city: Words
    contact_name: str
    phone: str
    address: str
    masked: bool
    timezone: str
    trading_hours: list[list[str]] | None


class ParameterRead(Answer):
    name: str
    title: Words
    type: str
    unit: str
    required: bool
    default: bool | int | float | str | None
    minimum: float | None
    maximum: float | None
    choices: list[dict[str, Any]]
    pattern: str
    max_length: int


class ActionRead(Answer):
    """``class`` is the danger class: 0 reads, 1 changes, 2 software."""

    name: str
    title: Words
    explains: Words | None
    params: list[ParameterRead]
    unit: str
    class_: Annotated[int, Field(serialization_alias="class")]
    expected_s: float
    timeout_s: float
    outage_s: float
    soak_s: float
    pre_check: str | None
    post_check: str | None
    steps: list[dict[str, Any]]
    cures: list[str]
    finds: list[str]


class CapabilitiesRead(Answer):
    checks: list[ActionRead]
    tests: list[ActionRead]
    fixes: list[ActionRead]
    metrics: list[str]


class DeviceRead(Answer):
    """``attached_to`` is the gateway it speaks through, null when it has a link of its own."""

    id: str
    kind: str
    label: Words
    serial_number: str
    terminal_id: str | None
    model: str
    firmware: str
    family: str
    terminal_class: str
    site: SiteRead
    attached_to: str | None
    line: str | None
    sim_phone: str | None
    presence: str
    presence_since: Moment | None
    presence_reason: str
    last_seen_at: Moment | None
    condition: str
    condition_since: Moment | None
    worst_code: str
    agent_version: str
    profile: str
    clock_offset_ms: int | None
    enrolled_at: Moment


class DeviceDetail(DeviceRead):
    capabilities: CapabilitiesRead
    faults: list[FaultRead]
    attached: list[DeviceRead]


_AS_THEY_ARE = (
    "id",
    "kind",
    "serial_number",
    "terminal_id",
    "model",
    "firmware",
    "family",
    "terminal_class",
    "line",
    "presence",
    "presence_since",
    "presence_reason",
    "last_seen_at",
    "condition",
    "condition_since",
    "worst_code",
    "agent_version",
    "profile",
    "clock_offset_ms",
    "enrolled_at",
)


def device_read(found: DeviceAtSite) -> DeviceRead:
    return DeviceRead(**device_fields(found))


def device_fields(found: DeviceAtSite) -> dict[str, Any]:
    device, site = found.device, found.site
    return {
        **{name: getattr(device, name) for name in _AS_THEY_ARE},
        "label": Words(zh=device.label_zh, en=device.label_en),
        "attached_to": None if device.link_id == device.id else device.link_id,
        "sim_phone": found.sim_phone or None,
        "site": site_read(site),
    }


def site_read(site: SiteShown) -> SiteRead:
    return SiteRead(
        id=site.id,
        merchant_id=site.merchant_id,
        merchant_name=Words(zh=site.merchant_name_zh, en=site.merchant_name_en),
        name=Words(zh=site.name_zh, en=site.name_en),
        city=Words(zh=site.city_zh, en=site.city_en),
        contact_name=site.contact_name,
        phone=site.phone,
        address=site.address,
        masked=site.is_masked,
        timezone=site.timezone,
        trading_hours=site.trading_hours,
    )


def capabilities_read(declared: DeviceCapabilities | None) -> CapabilitiesRead:
    actions = [] if declared is None else declared.actions

    def of(kind: ActionKind) -> list[ActionRead]:
        return [_action_read(action) for action in actions if action.kind is kind]

    return CapabilitiesRead(
        checks=of(ActionKind.CHECK),
        tests=of(ActionKind.TEST),
        fixes=of(ActionKind.FIX),
        metrics=[] if declared is None else declared.metrics,
    )


def _action_read(action: Action) -> ActionRead:
    plain = {name: msgspec.to_builtins(getattr(action, name)) for name in action.__struct_fields__}
    plain["params"] = [_parameter(one) for one in action.params]
    return ActionRead(**plain, class_=int(action.danger_class))


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {name: msgspec.to_builtins(getattr(parameter, name)) for name in parameter.__struct_fields__}
