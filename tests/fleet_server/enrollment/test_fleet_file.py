from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet_server.enrollment.errors import FleetFileInvalid
from fleet_server.enrollment.fleet_file import read_fleet_file
from tests.fleet_server.enrollment.fleets import small_fleet

Fleet = dict[str, Any]


def write(tmp_path: Path, fleet: object) -> Path:
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps(fleet), "utf-8")
    return path


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    fleet = read_fleet_file(write(tmp_path, small_fleet()))
    assert [site.merchant_name.zh for site in fleet.sites] == ["晨光便利店"]
    assert [device.key for device in fleet.devices] == ["prn1", "gw1", "esign1"]


def set_at(*path: str | int, to: object) -> Callable[[Fleet], None]:
    def change(fleet: Fleet) -> None:
        place: Any = fleet
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


def drop(*path: str | int) -> Callable[[Fleet], None]:
    def change(fleet: Fleet) -> None:
        place: Any = fleet
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (drop("sites", 0, "timezone"), r"missing required field `timezone` - at `\$\.sites\[0\]`"),
        (set_at("sites", 0, "merchant_id", to=898), r"Expected `str`, got `int` - at `\$\.sites\[0\]\.merchant_id`"),
        (set_at("sites", 0, "colour", to="red"), r"unknown field `colour` - at `\$\.sites\[0\]`"),
        (set_at("sites", 0, "timezone", to="Mars"), r"at \$\.sites\[0\]\.timezone: expected .*, came 'Mars'"),
        (set_at("sites", 0, "trading_hours", to=[["06:00", "06:00"]]), "an end that differs, came '06:00 to"),
        (set_at("sites", 0, "trading_hours", to=[["6", "22:00"]]), r"at `\$\.sites\[0\]\.trading_hours\[0\]\[0\]`"),
        (set_at("devices", 0, "site", to="s9"), r"\$\.devices\[0\]\.site: expected a key of sites, came 's9'"),
        (
            set_at("devices", 0, "attached_to", to="esign1"),
            r"attached_to: expected the key of a gateway, came 'esign1'",
        ),
        (set_at("devices", 0, "line", to=None), r"line: expected the name of a line of the gateway, came None"),
        (
            set_at("devices", 2, "line", to="prn0"),
            r"\$\.devices\[2\]\.kind: expected attached, because it names a line",
        ),
        (set_at("devices", 1, "key", to="prn1"), r"\$\.devices\[1\]\.key: expected a value that no earlier entry has"),
        (set_at("devices", 1, "key", to="../etc"), r"matching regex .* at `\$\.devices\[1\]\.key`"),
        (set_at("devices", 1, "kind", to="toaster"), r"Invalid enum value 'toaster' - at `\$\.devices\[1\]\.kind`"),
        (set_at("devices", 1, "serial_number", to="ES0000001"), r"\$\.devices\[2\]\.serial_number: expected a value"),
    ],
)
def test_a_mistake_is_named_with_its_place_what_was_expected_and_what_came(
    tmp_path: Path, change: Callable[[Fleet], None], sentence: str
) -> None:
    fleet = small_fleet()
    change(fleet)
    path = write(tmp_path, fleet)
    with pytest.raises(FleetFileInvalid, match=sentence) as refused:
        read_fleet_file(path)
    assert str(path) in str(refused.value)


def test_two_devices_cannot_share_a_line(tmp_path: Path) -> None:
    fleet = small_fleet()
    fleet["devices"].append({**fleet["devices"][0], "key": "prn2", "serial_number": "PRN000002"})
    with pytest.raises(FleetFileInvalid, match=r"devices\[3\]\.line: expected a line that no other device uses"):
        read_fleet_file(write(tmp_path, fleet))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"sites": 1}'])
def test_what_is_no_fleet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fleet.json"
    path.write_bytes(content)
    with pytest.raises(FleetFileInvalid, match=r"fleet\.json"):
        read_fleet_file(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FleetFileInvalid, match=r"nowhere\.json cannot be read: No such file"):
        read_fleet_file(tmp_path / "nowhere.json")
