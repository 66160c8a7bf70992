"""``fleet-server tenants`` and ``--tenant`` as an operator and a program meet them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet_server.__main__ import make_app
from fleet_server.auth.errors import NameTaken, PersonUnknown
from fleet_server.auth.own_password import OwnPassword
from fleet_server.auth.roles import Role
from fleet_server.auth.sessions import Place
from fleet_server.db import open_engine, reading
from fleet_server.devices.repository import DeviceFilters, DeviceRepository
from fleet_server.kit.times import utc_now
from fleet_server.settings import load_settings
from fleet_server.tenants.errors import TenantTaken, TenantUnknown, TenantUnusable
from tests.fleet_server.auth.people import door
from tests.fleet_server.enrollment.fleets import small_fleet

NEW = "violet-harbour-anvil-92"


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("tenants") / "data"
    run("init", "--data", str(data))
    return data


def run(*words: str) -> str:
    answer = CliRunner().invoke(make_app(), list(words), catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


def names(data: Path, *more: str) -> set[str]:
    return {one["name"] for one in json.loads(run("people", "list", "--data", str(data), "--json", *more))}


def add(data: Path, tenant: str, admin: str) -> dict[str, Any]:
    words = ("tenants", "add", tenant, tenant.title(), "--admin", admin, "--data", str(data), "--json")
    made: dict[str, Any] = json.loads(run(*words))
    return made


def test_a_tenant_begins_with_an_administrator_who_has_no_password_but_a_code(data: Path) -> None:
    made = add(data, "north", "anna")
    assert (made["id"], made["admin"], made["url"].endswith("/set-up")) == ("north", "anna", True)
    engine = open_engine(load_settings(data).database_url)
    opened = OwnPassword(door(engine)).set_up(
        "anna", made["set_up_code"], NEW, NEW, place=Place("192.0.2.1"), now=utc_now()
    )
    assert opened is not None
    who = opened.session.actor
    assert (who.tenant_id, who.role, who.is_visiting) == ("north", Role.TENANT_ADMIN, False)
    assert not who.may_give(Role.OPERATOR)
    engine.dispose()


def test_people_and_tokens_are_made_in_the_tenant_that_was_named_and_only_there(data: Path) -> None:
    add(data, "east", "berta")
    run("people", "add", "carl", "--role", "support", "--tenant", "east", "--data", str(data))
    assert names(data, "--tenant", "east") == {"berta", "carl"}
    assert not {"berta", "carl"} & names(data)
    with pytest.raises(PersonUnknown):
        run("people", "disable", "carl", "--data", str(data))
    with pytest.raises(NameTaken):
        run("people", "add", "carl", "--role", "support", "--data", str(data))
    run("people", "disable", "carl", "--tenant", "east", "--data", str(data))
    assert "Token" in run("token", "ci", "--tenant", "east", "--data", str(data))
    assert "There is no token" in run("token", "ci", "--revoke", "--data", str(data))


@pytest.mark.parametrize(
    "words",
    [
        ("people", "list"),
        ("token", "ci"),
        ("dead-letters", "list"),
        ("enrolment", "list"),
        ("export", "health", "--from", "2026-01-01", "--to", "2026-01-02", "--out", "/nowhere/file"),
        ("init",),
    ],
)
def test_a_tenant_that_is_not_there_is_no_other_one(data: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(TenantUnknown):
        run(*words, "--tenant", "nobody", "--data", str(data))


def test_two_fleet_files_with_the_same_keys_are_two_fleets(data: Path, tmp_path: Path) -> None:
    add(data, "south", "dora")
    fleet, other = small_fleet(), small_fleet()
    for device in other["devices"]:
        device["serial_number"] += "-S"
    made = {}
    for tenant, document in (("default", fleet), ("south", other)):
        path = tmp_path / f"{tenant}.json"
        path.write_text(json.dumps(document), "utf-8")
        words = ("init", "--fleet", str(path), "--data", str(data), "--json")
        made[tenant] = json.loads(run(*words, *(() if tenant == "default" else ("--tenant", tenant))))["devices"]
    assert made["default"].keys() == made["south"].keys()
    bundles = [one["bundle"] for devices in made.values() for one in devices.values() if one["bundle"]]
    assert len(set(bundles)) == len(bundles)
    assert all((Path(bundle) / "enrolment.json").exists() for bundle in bundles)
    ids = {tenant: {one["id"] for one in devices.values()} for tenant, devices in made.items()}
    engine = open_engine(load_settings(data).database_url)
    with reading(engine) as session:
        for tenant, wanted in ids.items():
            rows = DeviceRepository(session, tenant).worst_first(DeviceFilters(), None, 100)
            assert {device.id for device, _ in rows} == wanted
    engine.dispose()


def test_names_ids_and_renaming(data: Path) -> None:
    add(data, "west", "emil")
    with pytest.raises(TenantTaken):
        add(data, "west", "emil2")
    for wrong in ("West", "w", "-west", "we_st", "../west", "x" * 33):
        with pytest.raises(TenantUnusable):
            run("tenants", "add", "--admin", "f", "--data", str(data), "--", wrong, "Name")
    run("tenants", "rename", "west", "Western Acquiring", "--data", str(data))
    run("tenants", "suspend", "west", "--reason", "the bill", "--data", str(data))
    listed = {one["id"]: one for one in json.loads(run("tenants", "list", "--data", str(data), "--json"))}
    assert listed["west"]["name"] == "Western Acquiring"
    assert [id_ for id_, one in listed.items() if one["suspended_at"]] == ["west"]
    run("tenants", "resume", "west", "--data", str(data))
    assert "suspended since" not in run("tenants", "list", "--data", str(data))
