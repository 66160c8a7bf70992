"""``fleet-server people`` as an operator and a program meet it."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet_server.__main__ import make_app
from fleet_server.auth.errors import PersonUnknown
from fleet_server.auth.own_password import OwnPassword
from fleet_server.auth.sessions import Place, Stage
from fleet_server.db import open_engine
from fleet_server.kit.times import utc_now
from fleet_server.settings import load_settings
from tests.fleet_server.auth.people import door

NEW = "violet-harbour-anvil-92"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    data = tmp_path_factory.mktemp("people") / "data"
    return data, json.loads(run("init", "--data", str(data), "--json"))


def run(*words: str) -> str:
    answer = CliRunner().invoke(make_app(), list(words), catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


def people(data: Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(run("people", "list", "--data", str(data), "--json"))}


def test_a_new_installation_has_no_password_but_a_code_that_is_good_once(
    installed: tuple[Path, dict[str, Any]],
) -> None:
    data, made = installed
    (operator,) = made["users"]
    assert (operator["name"], operator["password"], operator["role"]) == ("operator", None, "operator")
    again = json.loads(run("init", "--data", str(data), "--json"))
    assert "set_up_code" not in again["users"][0]
    engine = open_engine(load_settings(data).database_url)
    service = OwnPassword(door(engine, is_required=True))
    code, place = operator["set_up_code"], Place("192.0.2.1")
    opened = service.set_up("operator", code, NEW, NEW, place=place, now=utc_now())
    assert opened is not None
    assert opened.session.stage is Stage.ENROL
    assert service.set_up("operator", code, NEW, NEW, place=place, now=utc_now() + timedelta(seconds=1)) is None
    engine.dispose()


def test_people_are_made_and_managed_from_the_machine(installed: tuple[Path, dict[str, Any]]) -> None:
    data = str(installed[0])
    made = json.loads(run("people", "add", "wang.fang", "--role", "viewer", "--data", data, "--json"))
    assert made["url"].endswith("/set-up")
    assert len(made["set_up_code"]) == 19
    assert people(installed[0])["wang.fang"]["awaits_set_up"]
    for words, key, value in (
        (("disable",), "disabled", True),
        (("enable",), "disabled", False),
        (("unlock",), "locked", False),
        (("reset-second-factor",), "second_factor", False),
        (("set-up",), "awaits_set_up", True),
        (("role",), "role", "support"),
    ):
        run("people", *words, "wang.fang", *(["support"] if words == ("role",) else []), "--data", data)
        assert people(installed[0])["wang.fang"][key] == value, words
    assert "waits to be set up" in run("people", "list", "--data", data)


def test_whom_nobody_knows_is_told(installed: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(PersonUnknown, match="nobody named nobody"):
        run("people", "disable", "nobody", "--data", str(installed[0]))


def test_the_key_is_changed_and_stays_its_owners_alone(installed: tuple[Path, dict[str, Any]]) -> None:
    path = load_settings(installed[0]).people_key
    before = path.read_text("ascii")
    assert "0 people" in run("people", "change-key", "--data", str(installed[0]))
    after = path.read_text("ascii")
    assert after != before
    assert len(after.split()) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
