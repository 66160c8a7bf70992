from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from device_agent.drivers.escpos.device import PrinterDevice
from device_agent.drivers.measured import metrics_of
from device_agent.drivers.modem.device import RADIO_EVERY, ModemDevice
from device_agent.drivers.zvt.device import ZvtDevice
from protocol.catalogue import codes, metrics
from simulators.direct_port import DirectPort, WaitClock
from simulators.peripherals.peripheral import ChannelKind
from simulators.serial_command import FAMILIES, make_peripheral
from tests.support.driver_rig import Rig

DRIVERS: dict[str, Callable[..., Any]] = {"zvt": ZvtDevice, "escpos": PrinterDevice, "modem": ModemDevice}
ENUMS = ("prn.status", "modem.sim_state", "net.type")


@pytest.mark.parametrize("family", FAMILIES)
def test_whatever_breaks_is_told_in_words_of_the_catalogue(family: str) -> None:
    clock, peripheral = WaitClock(), make_peripheral(family)
    port = DirectPort(peripheral.open_channel(ChannelKind.SERIAL), clock)
    rig = Rig(DRIVERS[family](port.open, monotonic=clock), peripheral, port, clock)
    for fault in [None, *sorted(peripheral.known_faults())]:
        if fault is not None:
            peripheral.apply_fault(fault)
        for _ in range(RADIO_EVERY + 1):
            result = rig.poll()
            for name, value in result.readings.items():
                metric = metrics.get(name)
                assert metric is not None, name
                assert name in metrics_of(family, "kiosk"), name
                assert name not in ENUMS or str(value) in metric.range.split(","), (name, value)
            assert all(codes.get(sign.code) is not None for sign in result.faults)
            assert len({sign.code for sign in result.faults}) == len(result.faults)
        peripheral.clear_fault()
