"""The probe for the right speed, on a line that carries nothing at another speed than the device's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from device_agent.adapters.serial_port import SerialOpener
from device_agent.checks.line_baud_probe import SpeedOpener, definition
from device_agent.drivers.escpos.device import PrinterDevice
from protocol.records import Outcome
from simulators.direct_port import DirectPort, WaitClock
from simulators.peripherals.escpos_printer import EscposPrinter
from tests.support.action_rig import Context, attached_rig

DEVICE_BAUD = 19_200


@dataclass(frozen=True)
class LineOfOneSpeed:
    port: DirectPort
    clock: WaitClock
    baud: int

    def __call__(self) -> DirectPort:
        # What arrives at another speed is no answer the device can read.
        self.port.is_cut = self.baud != DEVICE_BAUD
        return self.port.open()

    def at(self, baud: int) -> LineOfOneSpeed:
        return replace(self, baud=baud)


class QuickPrinter(PrinterDevice):
    """A printer's driver on the line's own clock: waiting for silence takes no time."""

    def __init__(self, open_port: LineOfOneSpeed) -> None:
        super().__init__(open_port, monotonic=open_port.clock)


def context(baud: int) -> Context:
    clock = WaitClock()
    line = LineOfOneSpeed(DirectPort(EscposPrinter(), clock), clock, baud)
    return Context(QuickPrinter(line), "kiosk")


def test_a_line_at_the_devices_speed_passes() -> None:
    assert definition.run is not None
    (found,) = definition.run(context(DEVICE_BAUD))
    assert (found.outcome, found.value) == (Outcome.PASS, DEVICE_BAUD)


def test_the_speed_at_which_the_device_answers_is_told_and_the_line_keeps_its_own() -> None:
    asked = context(9600)
    assert definition.run is not None
    (found,) = definition.run(asked)
    assert (found.outcome, found.value) == (Outcome.FAIL, DEVICE_BAUD)
    assert "line is set to 9600" in found.evidence
    assert asked.device.open_port.baud == 9600


def test_a_device_that_answers_at_no_speed_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_agent.checks.line_baud_probe.SPEEDS", (9600, 4800))
    assert definition.run is not None
    (found,) = definition.run(context(9600))
    assert found.outcome is Outcome.FAIL
    assert found.codes == ("agent.LINE_SILENT",)


def test_a_line_without_a_speed_cannot_be_probed() -> None:
    assert attached_rig("escpos").outcome("line.baud_probe") is Outcome.UNSUPPORTED


def test_a_serial_line_has_a_speed() -> None:
    opener = SerialOpener("/dev/ttyUSB0", 9600, 2)
    assert isinstance(opener, SpeedOpener)
    assert opener.at(4800) == SerialOpener("/dev/ttyUSB0", 4800, 2)
