"""The plan of faults: every cause named in both languages, given only to devices that can show it."""

from __future__ import annotations

import pytest

from protocol.catalogue import faults, metrics
from protocol.catalogue.vocabulary import TerminalClass
from simulators.fault_plan import DeviceKind, all_faults, faults_for, get
from simulators.observations import ShowsReading, observe
from simulators.peripherals import fault_effects


def test_names_are_unique_and_titled_in_both_languages() -> None:
    names = [each.name for each in all_faults()]
    assert len(names) == len(set(names))
    assert all(each.title_en and any("\u4e00" <= sign <= "\u9fff" for sign in each.title_zh) for each in all_faults())


def test_every_cause_of_the_fault_model_that_shows_is_planned() -> None:
    planned = {each.name for each in all_faults()}
    # These two show only in comparison with the server's records.
    assert set(faults.load().causes) - planned <= {"fw_bug_version"}


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        (DeviceKind.ZVT, fault_effects.ZVT_EFFECTS),
        (DeviceKind.ESCPOS, fault_effects.PRINTER_EFFECTS),
        (DeviceKind.MODEM, fault_effects.MODEM_EFFECTS),
    ],
)
def test_what_an_attached_device_can_show_is_planned_for_it(kind: DeviceKind, table: dict[str, object]) -> None:
    assert set(table) <= {each.name for each in faults_for(kind)}


def test_a_class_is_not_given_what_it_cannot_have() -> None:
    e_sign = {each.name for each in faults_for(DeviceKind.E_SIGN)}
    assert not {"paper_out", "cutter_jam", "serial_loose"} & e_sign
    assert {"sim_dead", "battery_aged"} <= e_sign
    assert "battery_aged" not in {each.name for each in faults_for(DeviceKind.KIOSK)}


def test_a_name_nobody_knows_is_nothing() -> None:
    assert get("coffee_spilt") is None
    paper_out = get("paper_out")
    assert paper_out is not None
    assert paper_out.title_zh == "缺纸"


@pytest.mark.parametrize("terminal_class", list(TerminalClass), ids=lambda each: each.value)
def test_a_reading_that_shows_a_symptom_is_outside_its_normal_range(terminal_class: TerminalClass) -> None:
    for symptom in faults.load().symptoms:
        for seen in observe(symptom, terminal_class):
            if isinstance(seen, ShowsReading):
                metric = metrics.get(seen.metric)
                assert metric is not None
                normal = metric.normal(terminal_class)
                assert normal is None or metric.judge(seen.value, terminal_class).is_abnormal, (symptom, seen)
                assert metric.unit != "%" or isinstance(seen.value, str) or 0 <= seen.value <= 100
