"""``fleet-server audit`` as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fleet_server.__main__ import make_app
from fleet_server.audit.anchors import PUBLIC
from fleet_server.auth.passwords import Passwords
from fleet_server.db import open_engine
from fleet_server.enrollment.installation import install
from fleet_server.enrollment.settings_file import Wishes
from fleet_server.kit.times import utc_now
from tests.support.audit_rig import change, database_administrator, remove, set_head, write_entries


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    installed = install(folder, Wishes(), None, utc_now(), Passwords.cheap())
    engine = open_engine(installed.settings.database_url)
    write_entries(engine, 20)
    engine.dispose()
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(make_app(), ["audit", *map(str, words)])


def damage(data: Path, seq: int) -> None:
    from fleet_server.settings import load_settings

    engine = open_engine(load_settings(data).database_url)
    with database_administrator(engine) as connection:
        change(connection, seq, action="nothing_happened")
    engine.dispose()


def test_a_chain_that_holds_says_so_and_one_that_does_not_names_the_entry(data: Path) -> None:
    held = run("verify", "--data", data)
    assert (held.exit_code, held.stdout) == (0, "default: entries 1 to 21 hold, never anchored.\n")
    damage(data, 9)
    broken = run("verify", "--data", data, "--json")
    found = json.loads(broken.stdout)
    assert (broken.exit_code, found["holds"], found["damage"]["kind"], found["damage"]["seq"]) == (
        1,
        False,
        "edited",
        9,
    )
    assert "DAMAGED at entry 9, edited" in run("verify", "--data", data).stdout


def test_anchors_are_files_of_the_day_and_nothing_is_signed_twice_or_over_damage(data: Path) -> None:
    assert "signed up to entry 21" in run("anchor", "--data", data).stdout
    assert "nothing is new" in run("anchor", "--data", data).stdout
    folder = data / "audit" / "default"
    assert [path.name for path in folder.iterdir()] == [f"{utc_now():%Y-%m-%d}.json"]
    assert (folder.iterdir().__next__().stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "anchored up to 21" in run("verify", "--data", data, "--anchors", data / "audit").stdout
    damage(data, 9)
    refused = run("anchor", "--data", data)
    assert refused.exit_code == 1
    assert "entry 9, edited" in str(refused.exception)


def test_a_carried_away_anchor_finds_what_the_database_forgot(data: Path, tmp_path: Path) -> None:
    run("anchor", "--data", data)
    from fleet_server.settings import load_settings

    engine = open_engine(load_settings(data).database_url)
    with database_administrator(engine) as connection:
        remove(connection, 20, 21)
        last = connection.exec_driver_sql("SELECT row_hash FROM audit_entry WHERE seq = 19").scalar_one()
        set_head(connection, 19, last)
        connection.exec_driver_sql("DELETE FROM audit_anchor")
    engine.dispose()
    assert run("verify", "--data", data).exit_code == 0
    outside = run("verify", "--data", data, "--anchors", data / "audit", "--json")
    assert json.loads(outside.stdout)["damage"]["kind"] == "truncated"


def test_an_export_is_verified_with_the_public_key_alone(data: Path, tmp_path: Path) -> None:
    run("anchor", "--data", data)
    out = tmp_path / "audit.jsonl"
    assert run("export", "--data", data, "--out", out).exit_code == 0
    key = data / "server" / "keys" / PUBLIC
    whole = run("verify", "--export", out, "--key", key, "--anchors", data / "audit")
    assert (whole.exit_code, "1 to 22 hold, anchored up to 21" in whole.stdout) == (0, True)
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:15]))
    cut = run("verify", "--export", out, "--key", key, "--anchors", data / "audit")
    assert (cut.exit_code, "truncated" in cut.stdout) == (1, True)
    without = run("verify", "--export", out, "--anchors", data / "audit")
    assert "expected --key" in str(without.exception)


def test_entries_are_listed_by_conditions_and_that_is_an_entry_too(data: Path) -> None:
    listed = run("list", "--data", data, "--target", "d-7", "--json")
    (entry,) = [json.loads(line) for line in listed.stdout.splitlines()]
    assert (entry["action"], entry["data"]["number"], entry["data"]["address"]) == ("done", 7, "10.0.0.1")
    assert "audit_read" in run("list", "--data", data).stdout
    assert run("export", "--data", data, "--out", data).exit_code == 2
