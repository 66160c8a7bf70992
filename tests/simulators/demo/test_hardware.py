from __future__ import annotations

import pytest

from protocol.catalogue.vocabulary import TerminalClass
from simulators.demo.fleet import GATEWAY, LINKS, fleet_document
from simulators.demo.hardware import BreakableTerminal, DemoDevice
from simulators.errors import FaultUnknown
from simulators.fault_plan import DeviceKind, only_when_asked
from simulators.peripherals.escpos_printer import EscposPrinter
from simulators.peripherals.zvt_terminal import ZvtTerminal
from simulators.serial_line import SerialLine
from simulators.terminal import SimulatedTerminal


@pytest.fixture
def printer() -> DemoDevice:
    return DemoDevice("prn1", frozenset({"PS1"}), SerialLine(EscposPrinter(), seed=1), link=None)


def test_fault_is_there_until_it_is_mended(printer: DemoDevice) -> None:
    printer.break_("paper_out")
    printer.break_("cable_out")
    assert printer.faults() == {"paper_out", "cable_out"}
    printer.mend("paper_out")
    assert printer.faults() == {"cable_out"}
    printer.mend(None)
    assert printer.faults() == frozenset()


def test_unknown_fault_is_refused_with_those_that_are_known(printer: DemoDevice) -> None:
    with pytest.raises(FaultUnknown, match="paper_out"):
        printer.break_("nonsense")
    with pytest.raises(FaultUnknown):
        printer.mend("agent_killed")


def test_what_no_page_would_show_is_not_offered_but_can_be_given_and_is_then_there_to_mend() -> None:
    zvt = DemoDevice("zvt1", frozenset(), SerialLine(ZvtTerminal(), seed=1), None, only_when_asked(DeviceKind.ZVT))
    assert {"acquirer_down", "reader_dead"} & zvt.offered_faults() == {"reader_dead"}
    zvt.break_("acquirer_down")
    assert "acquirer_down" in zvt.offered_faults()


def test_terminal_knows_its_causes() -> None:
    device = DemoDevice("esign1", frozenset(), BreakableTerminal(SimulatedTerminal(TerminalClass.E_SIGN)), link=None)
    device.break_("app_dead")
    assert device.faults() == {"app_dead"}
    device.mend(None)
    assert device.faults() == frozenset()


def test_every_link_and_line_of_the_demo_is_in_its_fleet_file() -> None:
    devices = {device["key"]: device for device in fleet_document()["devices"]}
    assert {link.key for link in LINKS} <= devices.keys()
    assert {line.key: line.name for line in GATEWAY.lines} == {
        key: device["line"] for key, device in devices.items() if device["attached_to"] == "gw1"
    }
