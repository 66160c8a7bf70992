from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet_server.enrollment.fleet_file import DeviceKind, read_fleet_file
from protocol.identifiers import LinkId
from protocol.session import MAX_ATTACHED
from simulators.load.fleet import (
    MAX_LINKS,
    BundleUnreadable,
    FleetSize,
    FleetTooLarge,
    link_key,
    read_bundles,
    write_fleet_file,
)
from simulators.load.run import talkers_of


def test_the_file_is_one_that_the_server_imports(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    write_fleet_file(path, FleetSize(3, MAX_ATTACHED))
    fleet = read_fleet_file(path)
    kinds = [device.kind for device in fleet.devices]
    assert (kinds.count(DeviceKind.GATEWAY), kinds.count(DeviceKind.ATTACHED)) == (3, 3 * MAX_ATTACHED)


def test_links_without_anything_attached_are_terminals(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    write_fleet_file(path, FleetSize(3, 0))
    assert {device.kind for device in read_fleet_file(path).devices} == {DeviceKind.TERMINAL}


@pytest.mark.parametrize("size", [(0, 0), (MAX_LINKS + 1, 0), (1, MAX_ATTACHED + 1), (1, -1)])
def test_what_the_broker_or_the_protocol_would_refuse_is_refused_here(size: tuple[int, int]) -> None:
    with pytest.raises(FleetTooLarge, match="expected"):
        FleetSize(*size)


def test_a_desk_counts_terminals_not_gateways() -> None:
    assert (FleetSize(2000, 200).terminals, FleetSize(10_000, 0).terminals) == (400_000, 10_000)


def test_devices_have_numbers_of_their_own_over_all_links(tmp_path: Path) -> None:
    for place in range(2):
        folder = tmp_path / link_key(place)
        folder.mkdir()
        attached = {f"l{number:03d}": f"d-device{place}-{number}00" for number in (1, 0)}
        enrolment = {"link": f"d-link{place}000", "attached": attached, "broker": {"host": "127.0.0.1", "port": 1}}
        (folder / "enrolment.json").write_text(json.dumps(enrolment), "utf-8")
    bundles = read_bundles(tmp_path, FleetSize(2, 2))
    assert bundles[0].link == LinkId("d-link0000")
    talkers = [talker for place, bundle in enumerate(bundles) for talker in talkers_of(place, bundle)]
    assert [(one.number, one.device) for one in talkers] == [
        (0, "d-device0-000"),
        (1, "d-device0-100"),
        (2, "d-device1-000"),
        (3, "d-device1-100"),
    ]


def test_a_link_that_was_not_enrolled_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleUnreadable, match="load-00000"):
        read_bundles(tmp_path, FleetSize(1, 0))
