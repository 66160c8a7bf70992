"""The agent's driver for a simulated peripheral on virtual time; each family's is loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulators.direct_port import WaitClock
    from simulators.virtual_line import VirtualLine


def driver_of(family: str, line: VirtualLine, clock: WaitClock) -> Any:
    match family:
        case "zvt":
            from device_agent.drivers.zvt.device import ZvtDevice

            return ZvtDevice(line.port.open, is_serial=True, monotonic=clock)
        case "escpos":
            from device_agent.drivers.escpos.device import PrinterDevice

            return PrinterDevice(line.port.open, monotonic=clock)
        case _:
            from device_agent.drivers.modem.device import ModemDevice

            return ModemDevice(line.port.open, monotonic=clock)
