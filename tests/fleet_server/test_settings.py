from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from fleet_server import migrate
from fleet_server.commands.run import _children as children
from fleet_server.db import open_engine, reading, transaction
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


def test_each_installation_has_a_group_of_its_own_that_nobody_guesses(tmp_path: Path) -> None:
    groups = {ensure_settings(tmp_path / str(number), Wishes()).ingest_group for number in range(3)}
    assert len(groups) == 3
    assert all(len(bytes.fromhex(group.removeprefix("g-"))) == 16 for group in groups)


def test_what_has_no_default_is_named_when_it_is_missing(tmp_path: Path, written: Path) -> None:
    change(written, 'tenant = "default"\n', "")
    with pytest.raises(SettingsInvalid, match="tenant: expected str, came None"):
        load_settings(tmp_path)


def test_kept_days_of_an_operator_stay(tmp_path: Path, written: Path) -> None:
    change(written, "health_kept_days = 14", "health_kept_days = 0")
    again = ensure_settings(tmp_path, Wishes(mqtt_port=18883))
    assert again == replace(load_settings(tmp_path), mqtt_port=18883, health_kept_days=0)


def test_a_folder_that_is_copied_or_moved_keeps_to_itself(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    ensure_settings(first, Wishes())
    with opened(first) as engine:
        migrate.upgrade(engine)
    shutil.copytree(first, second)
    with opened(second) as engine, transaction(engine) as session:
        session.execute(text("INSERT INTO server_state (name, value) VALUES ('said', '{}')"))
    first.rename(third)
    assert (facts(third), facts(second)) == ([], ["said"])
    assert not first.exists()


def test_a_file_that_names_its_own_place_is_taken_and_mended_by_init(tmp_path: Path, written: Path) -> None:
    place = tmp_path.resolve() / "server" / "fleet.db"
    change(written, 'database_url = "sqlite:///fleet.db"', f'database_url = "sqlite:///{place}"')
    assert load_settings(tmp_path).database_url == f"sqlite:///{place}"
    ensure_settings(tmp_path, Wishes())
    assert 'database_url = "sqlite:///fleet.db"' in written.read_text("utf-8")
    assert load_settings(tmp_path).database_url == f"sqlite:///{place}"


@pytest.mark.parametrize("url", ["sqlite:////srv/elsewhere.db", "postgresql+psycopg://fleet@db.example/fleet"])
def test_a_database_elsewhere_stays_there(tmp_path: Path, url: str) -> None:
    assert ensure_settings(tmp_path, Wishes(database_url=url)).database_url == url
    assert ensure_settings(tmp_path, Wishes(mqtt_port=18883)).database_url == url
    assert load_settings(tmp_path).database_url == url


@contextmanager
def opened(data: Path) -> Iterator[Engine]:
    engine = open_engine(load_settings(data).database_url)
    yield engine
    engine.dispose()


def facts(data: Path) -> list[str]:
    with opened(data) as engine, reading(engine) as session:
        return list(session.execute(text("SELECT name FROM server_state")).scalars())


@pytest.mark.parametrize("days", ["-1", "36501", "1.5", "true"])
def test_days_that_make_no_sense_stop_the_start(tmp_path: Path, written: Path, days: str) -> None:
    change(written, "records_kept_days = 90", f"records_kept_days = {days}")
    with pytest.raises(SettingsInvalid, match="records_kept_days: expected"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "http://approve.example",  # no WebCrypto there
        "https://approve.example/",
        "https://approve.example/page",
        "https://approve.example:443",  # browsers leave it out
        "https://Approve.example",  # and say it in small letters
        "approve.example",
        "http://127.0.0.1:8080",  # the console's own
    ],
)
def test_an_approval_page_needs_a_safe_origin_of_its_own(tmp_path: Path, written: Path, url: str) -> None:
    change(written, 'approval_url = ""', f'approval_url = "{url}"')
    with pytest.raises(SettingsInvalid, match="approval_url: expected"):
        load_settings(tmp_path)


@pytest.mark.parametrize("url", ["https://approve.example", "https://approve.example:8443", "http://127.0.0.1:8081"])
def test_an_approval_page_is_a_process_of_the_server_where_one_is_named(
    tmp_path: Path, written: Path, url: str
) -> None:
    assert "approval-page" not in [child.name for child in children(load_settings(tmp_path), 1)]
    change(written, 'approval_url = ""', f'approval_url = "{url}"')
    assert "approval-page" in [child.name for child in children(load_settings(tmp_path), 1)]


def test_an_approval_page_that_was_asked_for_stays_where_it_is(tmp_path: Path) -> None:
    assert ensure_settings(tmp_path, Wishes()).approval_url == ""
    for wishes in (Wishes(approval_port=8099), Wishes(), Wishes(http_port=8090)):
        made = ensure_settings(tmp_path, wishes)
        place = (made.approval_url, made.approval_host, made.approval_port)
        assert place == ("http://127.0.0.1:8099", "127.0.0.1", 8099)
    assert ensure_settings(tmp_path, Wishes(http_host="0.0.0.0", approval_port=8099)).approval_url.startswith("https:")  # noqa: S104 - nothing listens
