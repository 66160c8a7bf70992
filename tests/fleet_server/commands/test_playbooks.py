"""``fleet-server playbooks`` against an API, with a scheduler and a terminal that answers beside it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine
from sqlmodel import col, select
from typer.testing import CliRunner, Result

from fleet_server.__main__ import make_app
from fleet_server.commands import connection
from fleet_server.commands.connection import Connection
from fleet_server.db import transaction
from fleet_server.devices.models import Capability
from fleet_server.devices.service import CapabilityCache
from fleet_server.executions.models import Execution
from fleet_server.executions.outbound import Outbound
from fleet_server.kit.conflicts import Conflicts
from fleet_server.kit.times import utc_now
from fleet_server.playbooks.keeping import PlaybookKeeper
from fleet_server.timeline.writer import NewEvent, append_events
from tests.fleet_server.api import Api, bearer, running_api
from tests.fleet_server.factories import TENANT
from tests.fleet_server.playbooks.walks import TEXT
from tests.fleet_server.two_tenants import ALIVE


@pytest.fixture
def api(sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with running_api(sqlite_engine, tmp_path) as running:
        with transaction(running.engine) as session:
            row = session.get_one(Capability, running.fleet.terminal)
            actions = [*row.document["actions"], msgspec.to_builtins(ALIVE)]
            row.document, row.digest = {**row.document, "actions": actions}, "e" * 64
        running.client.headers.update(bearer("support"))
        names = {"zvt1": running.fleet.terminal}
        monkeypatch.setattr(connection, "connect", lambda *_: Connection(running.client, names))
        yield running


@pytest.fixture
def walking(api: Api) -> Iterator[Callable[[dict[str, tuple[str, str]]], None]]:
    """Starts a scheduler's keeper and a terminal that answers each action so: state and outcome."""
    stop = threading.Event()
    outbound = Outbound(None, lambda: None)
    keeper = PlaybookKeeper(api.engine, CapabilityCache(), api.app.state.dispatcher, outbound, Conflicts())
    threads: list[threading.Thread] = []

    def work(answers: dict[str, tuple[str, str]]) -> None:
        while not stop.wait(0.05):
            keeper.step(TENANT, utc_now())
            with transaction(api.engine) as session:
                for row in session.exec(select(Execution).where(col(Execution.is_final).is_(False))):
                    row.state, outcome = answers[row.action]
                    row.outcome, row.is_final, row.deadline_at, row.finished_at = outcome, True, None, utc_now()
                    data: dict[str, Any] = {
                        "phase": "result",
                        "item": "app",
                        "outcome": outcome,
                        "codes": [],
                        "value": None,
                    }
                    event = NewEvent(row.device_id, "verdict", utc_now(), data, execution_id=row.id)
                    append_events(session, TENANT, [event], utc_now())

    def start(answers: dict[str, tuple[str, str]]) -> None:
        threads.append(threading.Thread(target=work, args=(answers,), daemon=True))
        threads[0].start()

    yield start
    stop.set()
    for one in threads:
        one.join(30)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), ["playbooks", *arguments])


def test_those_that_there_are_and_those_that_fit_a_device(api: Api) -> None:
    listed = run("list", "--lang", "zh").output
    assert "no_network" in listed
    assert "连不上网络" in listed
    fitting = run("list", "zvt1", "--lang", "en").output
    assert "app_not_running" in fitting
    assert "[class 1]" in fitting
    assert "no_network" not in fitting
    assert json.loads(run("show", "slow").output)["definition"]["steps"][0]["check"] == "memory.read"


def test_a_walk_is_followed_to_its_end(api: Api, walking: Callable[[dict[str, tuple[str, str]]], None]) -> None:
    walking({"app.alive": ("SUCCEEDED", "fail"), "app.restart": ("SUCCEEDED", "pass")})
    result = run("run", "zvt1", "app_not_running", "--wait", "120", "--lang", "en")
    assert result.exit_code == 0, result.output
    assert " 1. See whether the payment application runs (app.alive): fail" in result.output
    assert " 2. Restart the payment application (app.restart): proved fixed" in result.output
    assert result.output.splitlines()[-1] == "mended. The payment application runs again."
    walks = json.loads(run("walks", "zvt1", "--json").output)["items"]
    assert "mended." in run("walk", walks[0]["id"], "--lang", "en").output


def test_an_end_that_takes_a_person_is_another_exit_code(
    api: Api, walking: Callable[[dict[str, tuple[str, str]]], None]
) -> None:
    walking({"app.alive": ("SUCCEEDED", "fail"), "app.restart": ("FAILED", "fail")})
    result = run("run", "zvt1", "app_not_running", "--wait", "120", "--lang", "zh")
    assert result.exit_code == 1, result.output
    assert "转交给 终端管理" in result.output


def test_one_that_is_not_waited_for_goes_on_and_can_be_cancelled(api: Api) -> None:
    result = run("run", "zvt1", "app_not_running", "--wait", "0", "--lang", "en", "--json")
    assert result.exit_code == 2
    walk = json.loads(result.output)
    assert run("cancel", walk["id"], "--lang", "en").exit_code == 0
    assert json.loads(run("walk", walk["id"], "--json").output)["state"] == "cancelling"


def test_a_file_is_checked_without_a_server(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(TEXT, "utf-8")
    assert run("validate", str(file), "--lang", "en").output == "path_down is well-formed\n"
    file.write_text(TEXT.replace('go = "restart"', 'go = "restrat"'), "utf-8")
    refused = run("validate", str(file))
    assert refused.exit_code == 1
    assert "own.toml: steps[0] path: expected the name of a step or end to go to, came 'restrat'" in refused.output
