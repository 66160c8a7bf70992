"""A line to a simulated peripheral on virtual time: the faults of `serial_line`, without a pty or a thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from simulators.direct_port import DirectPort, WaitClock
from simulators.errors import FaultUnknown
from simulators.peripherals.fault_effects import LINE_EFFECTS, PRINTER_LINE_EFFECTS, LineEffect
from simulators.peripherals.peripheral import ChannelKind, FaultSwitches

if TYPE_CHECKING:
    from simulators.peripherals.peripheral import Peripheral


class VirtualLine:
    """`port` is the agent's end."""

    def __init__(self, peripheral: Peripheral, clock: WaitClock, *, seed: int) -> None:
        self.peripheral = peripheral
        self.port = DirectPort(peripheral.open_channel(ChannelKind.SERIAL), clock, seed=seed)
        table = LINE_EFFECTS | (PRINTER_LINE_EFFECTS if peripheral.family == "escpos" else {})
        self._switches: FaultSwitches[LineEffect] = FaultSwitches(table, threading.RLock())

    def known_faults(self) -> frozenset[str]:
        return self._switches.known() | self.peripheral.known_faults()

    def faults(self) -> frozenset[str]:
        return self._switches.names() | self.peripheral.faults()

    def apply_fault(self, name: str) -> None:
        if name in self._switches.known():
            self._switches.apply(name)
            self._carry()
        elif name in self.peripheral.known_faults():
            self.peripheral.apply_fault(name)
        else:
            raise FaultUnknown(name, self.known_faults())

    def clear_fault(self, name: str | None = None) -> None:
        if name is None or name in self._switches.known():
            self._switches.clear(name)
            self._carry()
        if name is None or name in self.peripheral.known_faults():
            self.peripheral.clear_fault(name)

    def _carry(self) -> None:
        effects = self._switches.effects()
        self.port.is_cut = any(effect.is_cut for effect in effects)
        self.port.damaged_share = max((effect.damaged_share for effect in effects), default=0.0)
