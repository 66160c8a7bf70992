"""Backup, restore and dead letters at the command line: what people and programs read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet_server.db import open_engine, transaction
from fleet_server.ingest.models import DeadLetter
from fleet_server.settings import load_settings
from tests.fleet_server.commands.test_main import fleet_server, refused
from tests.fleet_server.factories import NOON


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("installed") / "data"
    assert fleet_server("init", "--data", str(data)).returncode == 0
    engine = open_engine(load_settings(data).database_url)
    with transaction(engine) as session:
        session.add(
            DeadLetter(
                tenant_id="default",
                link_id="d-gone-000000001",
                topic_kind="bulk",
                reason="not_decodable",
                payload=b'{"a":1}\x1b[2J\n\xff',
                received_at=NOON,
            )
        )
    engine.dispose()
    return data


def test_a_backup_and_its_restore_are_told_in_words(data: Path, tmp_path: Path) -> None:
    target, fresh = tmp_path / "backup", tmp_path / "fresh"
    made = fleet_server("backup", "--data", str(data), str(target)).stdout
    assert f"Backup of 0 devices in {target}" in made
    assert "Copying the database" in made
    first = fleet_server("restore", "--data", str(fresh), str(target)).stdout
    again = fleet_server("restore", "--data", str(fresh), str(target)).stdout
    for sentence in ("Restored the backup of", "New epoch", "no command number repeats", "Everybody is signed out"):
        assert sentence in first
    assert "What was there before is in" not in first
    assert f"What was there before is in {fresh / 'server.before-'}" in again


def test_a_backup_and_its_restore_are_one_object_for_programs(data: Path, tmp_path: Path) -> None:
    target, fresh = tmp_path / "backup", tmp_path / "fresh"
    made = json.loads(fleet_server("backup", "--data", str(data), str(target), "--json").stdout)
    assert (made["backup"], made["database"], made["devices"]) == (str(target), "sqlite", 0)
    assert made["size_bytes"] == sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) - sums(target)
    done = json.loads(fleet_server("restore", "--data", str(fresh), str(target), "--json").stdout)
    assert (done["made_at"], done["revision_to"], done["kept"]) == (made["made_at"], made["revision"], None)
    assert len(done["db_epoch"]) == 32


def sums(target: Path) -> int:
    return (target / "SHA256SUMS").stat().st_size


def test_refusals_are_one_sentence(data: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    assert "is there already" in refused(fleet_server("backup", "--data", str(data), str(tmp_path / "taken"), "--json"))
    unknown = fleet_server("restore", "--data", str(data), str(tmp_path / "nowhere"))
    assert "is no backup: manifest.json is missing" in refused(unknown)
    no_home = fleet_server("backup", "--data", str(tmp_path / "empty"), str(tmp_path / "new"))
    assert "run 'fleet-server init" in refused(no_home)
    assert "there is no letter 99" in refused(fleet_server("dead-letters", "show", "99", "--data", str(data)))


def test_dead_letters_are_listed_shown_and_played(data: Path) -> None:
    listed = json.loads(fleet_server("dead-letters", "list", "--data", str(data), "--json").stdout)["items"]
    assert [one["reason"] for one in listed] == ["not_decodable"]
    assert "d-gone-000000001  not_decodable  13 B" in fleet_server("dead-letters", "list", "--data", str(data)).stdout
    shown = fleet_server("dead-letters", "show", str(listed[0]["id"]), "--data", str(data)).stdout
    # Nothing in it may steer the terminal of whoever looks.
    assert '{"a":1}\\u001b[2J\\u000a\\xff' in shown
    played = json.loads(fleet_server("dead-letters", "replay", "--data", str(data), "--json").stdout)
    assert played == {"taken": 0, "left": {"not_a_record": 1}}
    words = fleet_server("dead-letters", "replay", str(listed[0]["id"]), "--data", str(data)).stdout
    assert "Understood and stored: 0. Left as they are: 1." in words
