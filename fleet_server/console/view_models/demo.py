"""What of the simulated fleet can be broken, in words, beside the devices' own names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet_server.console.moments import Calendar
from fleet_server.console.simulator_door import BreakableDevice
from fleet_server.console.view_models.fleet import condition_shape, place_name
from fleet_server.console.words import UNKNOWN_SHAPE, Shape
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.service import DeviceService


@dataclass(frozen=True, slots=True)
class PanelFault:
    name: str
    title: str


@dataclass(frozen=True, slots=True)
class PanelDevice:
    id: str
    key: str
    name: str
    state: Shape
    present: list[PanelFault]
    possible: list[PanelFault]


def panel(devices: Sequence[BreakableDevice], known: DeviceService, calendar: Calendar) -> list[PanelDevice]:
    return [_device(device, known, calendar) for device in devices]


def _device(device: BreakableDevice, known: DeviceService, calendar: Calendar) -> PanelDevice:
    try:
        at_site = known.get(device.id)
        name, state = place_name(at_site.device, at_site.site, calendar), condition_shape(at_site.device.condition)
    except DeviceNotFound:
        name, state = device.key, UNKNOWN_SHAPE
    faults = [(PanelFault(one.name, calendar.language.pick(one.zh, one.en)), one.is_present) for one in device.faults]
    return PanelDevice(
        id=device.id,
        key=device.key,
        name=name,
        state=state,
        present=[fault for fault, is_present in faults if is_present],
        possible=[fault for fault, is_present in faults if not is_present],
    )
