from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet_server.enrollment.settings_file import Wishes, ensure_settings
from fleet_server.errors import SettingsInvalid
from fleet_server.settings import load_settings


@pytest.fixture
def written(tmp_path: Path) -> Path:
    ensure_settings(tmp_path, Wishes())
    return tmp_path / "server" / "fleet.toml"


def change(file: Path, old: str, new: str) -> None:
    said = file.read_text("utf-8")
    assert old in said
    file.write_text(said.replace(old, new), "utf-8")


def test_a_file_of_an_earlier_version_is_taken_with_the_defaults(tmp_path: Path, written: Path) -> None:
    present = load_settings(tmp_path)
    change(written, "events_kept_days = 400\n", "")
    assert load_settings(tmp_path) == present


def test_what_has_no_default_is_named_when_it_is_missing(tmp_path: Path, written: Path) -> None:
    change(written, 'tenant = "default"\n', "")
    with pytest.raises(SettingsInvalid, match="tenant: expected str, came None"):
        load_settings(tmp_path)


def test_kept_days_of_an_operator_stay(tmp_path: Path, written: Path) -> None:
    change(written, "health_kept_days = 14", "health_kept_days = 0")
    again = ensure_settings(tmp_path, Wishes(mqtt_port=18883))
    assert again == replace(load_settings(tmp_path), mqtt_port=18883, health_kept_days=0)


@pytest.mark.parametrize("days", ["-1", "36501", "1.5", "true"])
def test_days_that_make_no_sense_stop_the_start(tmp_path: Path, written: Path, days: str) -> None:
    change(written, "records_kept_days = 90", f"records_kept_days = {days}")
    with pytest.raises(SettingsInvalid, match="records_kept_days: expected"):
        load_settings(tmp_path)
