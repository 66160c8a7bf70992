from __future__ import annotations

import pytest

from protocol.catalogue import faults
from simulators.errors import FaultUnknown
from simulators.peripherals.fault_effects import (
    LINE_EFFECTS,
    MODEM_EFFECTS,
    PRINTER_EFFECTS,
    PRINTER_LINE_EFFECTS,
    ZVT_EFFECTS,
)
from simulators.serial_command import FAMILIES, make_peripheral

# Names the fault model does not have: what a demo does with its hands, and stages before a cause.
OWN_NAMES = {"payment_running", "cable_out", "link_down", "paper_near", "mechanical_jam"}


def test_names_are_causes_of_the_fault_model_or_our_declared_own() -> None:
    causes = {str(cause) for cause in faults.load().causes}
    tables = (LINE_EFFECTS, ZVT_EFFECTS, PRINTER_EFFECTS, PRINTER_LINE_EFFECTS, MODEM_EFFECTS)
    assert {name for table in tables for name in table} - causes == OWN_NAMES


@pytest.mark.parametrize("family", FAMILIES)
def test_every_fault_shows_in_the_snapshot_and_leaves_it_when_mended(family: str) -> None:
    peripheral = make_peripheral(family)
    healthy = peripheral.snapshot()
    for name in peripheral.known_faults():
        peripheral.apply_fault(name)
        assert peripheral.faults() == {name}
        assert peripheral.snapshot() != healthy
        peripheral.clear_fault(name)
        assert peripheral.snapshot() == healthy


@pytest.mark.parametrize("family", FAMILIES)
def test_fault_the_family_cannot_show_is_refused_with_what_it_can(family: str) -> None:
    peripheral = make_peripheral(family)
    with pytest.raises(FaultUnknown, match="stuck_key"):
        peripheral.apply_fault("stuck_key")
    with pytest.raises(FaultUnknown):
        peripheral.clear_fault("stuck_key")
    assert peripheral.faults() == frozenset()


@pytest.mark.parametrize("family", FAMILIES)
def test_snapshot_is_a_copy_all_the_way_down(family: str) -> None:
    peripheral = make_peripheral(family)
    taken = dict(peripheral.snapshot())
    for value in taken.values():
        if isinstance(value, list):
            value.append("changed")
        elif isinstance(value, dict):
            value["changed"] = True
    assert peripheral.snapshot() != taken
