from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import delete
from typer.testing import CliRunner, Result

from fleet_server.__main__ import make_app
from fleet_server.assignments.models import Assignment
from fleet_server.commands import connection
from fleet_server.commands.connection import Connection, ServerRefused
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from tests.fleet_server.api import Api, bearer, running_api


@pytest.fixture
def api(sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with running_api(sqlite_engine, tmp_path) as running:
        with transaction(sqlite_engine) as session:
            session.exec(delete(Assignment))
        running.client.headers.update(bearer("support"))
        names = {"zvt1": running.fleet.terminal}
        monkeypatch.setattr(connection, "connect", lambda *_: Connection(running.client, names))
        yield running


def run(*arguments: str, lang: str = "en") -> Result:
    return CliRunner().invoke(make_app(), ["assignments", *arguments, "--lang", lang])


def seen(api: Api) -> set[str]:
    return {one["id"] for one in api.get("/api/v1/devices", "technician").json()["items"]}


def test_what_is_added_is_seen_listed_and_ended(api: Api) -> None:
    added = run("add", "technician", "--device", "zvt1", "--for", "12h")
    assert added.exit_code == 0, added.output
    identifier, *told = added.output.strip().split("  ")
    assert told[:2] == ["technician", f"device {api.fleet.terminal}"]
    assert api.fleet.terminal in seen(api)
    assert run("list", "--open").output.splitlines() == [added.output.strip()]
    ended = run("end", identifier)
    assert ended.exit_code == 0, ended.output
    assert seen(api) == set()
    assert run("list", "--open").output == ""
    assert run("list", lang="zh").output.startswith(f"{identifier}  technician  设备 {api.fleet.terminal}")


def test_a_span_counts_from_the_beginning_and_is_a_day_unless_said(api: Api) -> None:
    begins = (utc_now() + timedelta(days=2)).replace(microsecond=0)
    added = run("add", "technician", "--site", api.fleet.site, "--from", begins.isoformat(), "--json")
    assert added.exit_code == 0, added.output
    one = json.loads(added.output)
    assert (one["device"], one["site"]) == (None, api.fleet.site)
    assert datetime.fromisoformat(one["from"]) == begins
    assert datetime.fromisoformat(one["to"]) - begins == timedelta(days=1)
    listed = json.loads(run("list", "--site", api.fleet.site, "--json").output)
    assert listed["items"] == [one]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--device", "zvt1", "--site", "s-1"), "expected either --device or --site"),
        ((), "expected either --device or --site"),
        (("--device", "zvt1", "--for", "5"), "expected a length such as 12h or 5d, came '5'"),
        (("--device", "zvt1", "--for", "0d"), "expected a length such as 12h or 5d, came '0d'"),
        (("--device", "zvt1", "--to", "tomorrow"), "--to: expected a moment such as"),
        (("--device", "zvt1", "--from", "2026-03-02T08:00:00"), "--from: expected a moment such as"),
        (("--device", "zvt1", "--for", "1d", "--to", "2026-03-02T08:00:00Z"), "expected --to or --for, came both"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_server_is_asked(
    api: Api, words: tuple[str, ...], told: str
) -> None:
    refused = run("add", "technician", *words)
    assert refused.exit_code == 2
    assert told in " ".join(refused.output.replace("│", " ").split())
    assert api.get("/api/v1/assignments").json()["items"] == []


def test_who_is_no_technician_is_refused_in_the_servers_words(api: Api) -> None:
    refused = run("add", "nobody-known", "--device", "zvt1")
    assert isinstance(refused.exception, ServerRefused)
    assert "nobody-known" in str(refused.exception)
