"""Each playbook that ships, dry-run against each fault it is made for: mended, or handed to whoever mends it."""

from __future__ import annotations

import json

import pytest

from protocol.catalogue import faults
from protocol.playbooks.language import End, EndKind, Playbook
from protocol.playbooks.reading import shipped
from simulators.__main__ import main
from simulators.dry_run.virtual_device import VirtualDevice
from simulators.dry_run.walk import Ended, NotForDevice, Stepped, dry_run
from simulators.playbook_command import FAMILIES

GIVEN = {"no_network": {"apn": "cmnet", "dns": "223.5.5.5"}}
# Faults that are mended from afar. Each other one is somebody else's: a technician's, where the fault model says so.
MENDED = {
    "no_network": {"registration_lost", "apn_wrong", "dns_broken", "clock_drift"},
    "sign_in_expired": {"sign_in_expired"},
    "batch_not_settled": {"batch_full", "queue_stuck"},
    "slow": {"storage_log_growth"},
    "out_of_storage": {"storage_log_growth"},
    "clock_wrong": {"clock_drift"},
    "certificate_expired": {"clock_drift"},
    "app_not_running": {"app_dead"},
    "till_terminal_not_ready": {"param_outdated", "clock_drift", "capk_outdated", "sign_in_expired"},
}
# Onsite by the fault model, and nothing to bring: whoever keeps the shop's network.
NO_PART = {"dhcp_exhausted"}
NOT_TOLD_BY_PARTS = {("cannot_print", "traditional", "cutter_jam")}  # a class without a cutter


def ended(playbook: Playbook, device: VirtualDevice) -> tuple[list[Stepped], End]:
    *steps, last = dry_run(playbook, device, GIVEN.get(playbook.name, {}))
    assert isinstance(last, Ended)
    assert last.over.end is not None, (steps, last)
    return [one for one in steps if isinstance(one, Stepped)], last.over.end


def fits(playbook: Playbook, family: str) -> bool:
    return playbook.steps[0].action in VirtualDevice(family).actions


def cases() -> list[tuple[str, str, str]]:
    found = []
    for name, playbook in shipped().items():
        for family in FAMILIES:
            known = VirtualDevice(family).hardware.known_faults() if fits(playbook, family) else frozenset()
            found += [(name, family, fault) for fault in playbook.causes if fault in known]
    return [one for one in found if one not in NOT_TOLD_BY_PARTS]


@pytest.mark.parametrize(("name", "family", "fault"), cases())
def test_a_fault_is_gone_or_handed_to_whoever_mends_it(name: str, family: str, fault: str) -> None:
    device = VirtualDevice(family)
    device.hardware.apply_fault(fault)
    _, end = ended(shipped()[name], device)
    cause = faults.load().causes.get(faults.CauseId(fault))
    if fault in MENDED.get(name, ()):
        assert end.kind is EndKind.FIXED
        assert device.hardware.faults() == frozenset(), "it is called fixed and is not"
        return
    assert device.hardware.faults() == {fault}
    assert cause is not None
    if cause.fix.where is faults.Place.ONSITE and fault not in NO_PART:
        assert end.kind is EndKind.TECHNICIAN
    if end.kind is EndKind.TECHNICIAN:
        assert (end.cause, set(end.parts)) == (fault, set(cause.fix.parts))
    else:
        assert end.kind is EndKind.HANDOVER
        assert end.cause in {"", fault}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", list(shipped()))
def test_on_a_healthy_device_nothing_is_found_and_nothing_changed(name: str, family: str) -> None:
    if not fits(shipped()[name], family):
        with pytest.raises(NotForDevice):
            list(dry_run(shipped()[name], VirtualDevice(family), {}))
        return
    device = VirtualDevice(family)
    before = device.simulated.snapshot()
    steps, end = ended(shipped()[name], device)
    assert end.kind is EndKind.NOTHING_WRONG
    assert device.simulated.snapshot() == before
    assert all(one.step.check for one in steps), "a healthy device is only looked at"


def test_each_is_for_some_device_and_each_of_its_ends_but_the_unclear_ones_is_come_to() -> None:
    assert {name for name, _, _ in cases()} == set(shipped())


def test_two_faults_at_once_end_with_what_only_hands_mend() -> None:
    device = VirtualDevice("smart")
    device.hardware.apply_fault("registration_lost")
    device.hardware.apply_fault("sim_dead")
    _, end = ended(shipped()["no_network"], device)
    assert (end.kind, end.parts) == (EndKind.TECHNICIAN, ["SIM card"])


def test_equal_seeds_give_equal_walks() -> None:
    def walked() -> list[object]:
        device = VirtualDevice("kiosk", seed=5)
        device.hardware.apply_fault("app_dead")
        return list(dry_run(shipped()["app_not_running"], device, {}))

    assert walked() == walked()


def test_the_command_tells_each_step_and_what_is_left_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["playbook", "app_not_running", "--fault", "app_dead"]) == 0
    told = capsys.readouterr().out
    assert "重启支付应用 / Restart the payment application (app.restart) -> fixed" in told
    assert "left broken: 无 / nothing" in told
    assert main(["playbook", "no_network", "--on", "e_sign", "--fault", "sim_dead", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["as"] == "technician"
    assert lines[-1]["parts"] == ["SIM card"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no_such"], "expected a file in UTF-8 or one of app_not_running"),
        (["no_network", "--set", "pan=1"], "pan: expected one of apn, dns, came an unknown name"),
        (["cannot_print", "--on", "e_sign"], "begins with printer.status, which e_sign does not have"),
        (["slow", "--fault", "gremlins"], "gremlins"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["playbook", *arguments]) == 2
    assert words in capsys.readouterr().err
