from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from fleet_server.__main__ import make_app
from fleet_server.approvals.keys import make_key
from fleet_server.commands import connection
from fleet_server.commands.connection import Connection, ServerRefused
from fleet_server.db import transaction
from fleet_server.devices.models import Capability
from protocol.signing import SigningKey
from tests.fleet_server.api import Api, bearer, running_api
from tests.fleet_server.executions.conftest import COMMAND_KEY
from tests.fleet_server.two_tenants import ALIVE
from tests.support.signing import signer_with

PASSPHRASE = "a passphrase of words"


@dataclass
class Office:
    api: Api
    folder: Path
    caller: str = "approver"

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(make_app(), [*arguments])

    def with_key(self, *arguments: str) -> Result:
        key = ["--key", str(self.folder / "mei.pem"), "--passphrase-file", str(self.folder / "words")]
        return self.run(*arguments, *key)

    def ask(self) -> str:
        body = {"device": self.api.fleet.terminal, "action": "app.restart"}
        return str(self.api.post("/api/v1/executions", body).json()["id"])

    def state(self, execution: str) -> str:
        return str(self.api.get(f"/api/v1/executions/{execution}").json()["state"])


@pytest.fixture
def office(sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    (tmp_path / "words").write_text(PASSPHRASE + "\n", "utf-8")
    key = make_key(tmp_path / "mei.pem", PASSPHRASE)
    with running_api(sqlite_engine, tmp_path, signer_with(COMMAND_KEY, [("mei", key)])) as running:
        running.client.headers.update(bearer("approver"))
        names = {"zvt1": running.fleet.terminal}
        monkeypatch.setattr(connection, "connect", lambda *_: Connection(running.client, names))
        yield Office(running, tmp_path)


def test_an_approver_sees_what_is_signed_and_signs_it_without_any_page(office: Office) -> None:
    execution = office.ask()
    assert execution in office.run("approvals").stdout
    done = office.with_key("approve", execution, "--yes")
    assert (done.exit_code, f"{execution} is PUBLISHED" in done.stdout) == (0, True)
    shown = json.loads(done.stdout[: done.stdout.rindex("}") + 1])
    assert (shown["execution"], shown["grants"]) == (execution, [{"action": "app.restart", "params": {}}])


def test_nothing_is_signed_when_the_approver_says_no(office: Office) -> None:
    execution = office.ask()
    assert office.with_key("approve", execution).exit_code == 1
    assert office.state(execution) == "AWAITING_APPROVAL"


def test_a_server_that_shows_one_document_and_means_another_execution_gets_no_signature(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant, other = office.ask(), office.ask()
    asked = Connection.get

    def lying(self: Connection, path: str, params: dict[str, Any] | None = None) -> Any:
        return asked(self, path.replace(meant, other), params)

    monkeypatch.setattr(Connection, "get", lying)
    done = office.with_key("approve", meant, "--yes")
    assert done.exit_code == 2
    assert [office.state(meant), office.state(other)] == ["AWAITING_APPROVAL"] * 2


def test_what_is_no_authorisation_is_not_signed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    execution = office.ask()
    document = base64.b64encode(b'{"anything": "else"}').decode()
    monkeypatch.setattr(Connection, "get", lambda *_: {"document_base64": document})
    assert office.with_key("approve", execution, "--yes").exit_code == 2
    assert office.state(execution) == "AWAITING_APPROVAL"


def test_a_shift_permit_is_made_and_listed(office: Office) -> None:
    made = office.with_key(
        "permit", "--action", "app.restart", "--device", "zvt1", "--asked-by", "night desk", "--count", "1"
    )
    assert (made.exit_code, made.stdout.startswith("permit ")) == (0, True)
    assert office.state(office.ask()) == "PUBLISHED"
    assert "used 1/1" in office.run("permits").stdout
    assert office.state(office.ask()) == "AWAITING_APPROVAL"


def test_a_walk_of_a_playbook_is_allowed_as_a_whole_with_what_it_may_change_and_no_more(office: Office) -> None:
    with transaction(office.api.engine) as session:
        row = session.get_one(Capability, office.api.fleet.terminal)
        actions = [*row.document["actions"], msgspec.to_builtins(ALIVE)]
        row.document, row.digest = {**row.document, "actions": actions}, "e" * 64
    body = {"device": office.api.fleet.terminal, "playbook": "app_not_running"}
    walk = office.api.post("/api/v1/playbook-runs", body).json()
    refused = office.with_key("permit-walk", walk["id"])
    assert (refused.exit_code, office.api.get("/api/v1/permits").json()["items"]) == (1, [])
    made = office.with_key("permit-walk", walk["id"], "--yes")
    assert (made.exit_code, "app.restart" in made.stdout) == (0, True), made.output
    [permit] = office.api.get("/api/v1/permits").json()["items"]
    assert (permit["actions"], permit["max_count"]) == (["app.restart"], 1)
    assert office.state(office.ask()) == "PUBLISHED"
    assert office.state(office.ask()) == "AWAITING_APPROVAL"


def test_an_approval_is_refused_with_a_reason(office: Office) -> None:
    execution = office.ask()
    assert f"{execution} is CANCELLED" in office.run("refuse", execution, "not today").stdout


def test_the_stop_is_pulled_by_an_operator_and_lifted_with_a_key(office: Office) -> None:
    denied = office.run("signing", "stop", "looks odd")
    assert isinstance(denied.exception, ServerRefused)
    office.api.client.headers.update(bearer("operator"))
    said = office.run("signing", "stop", "looks odd").stdout
    assert json.loads(said[said.index("{") :])["stopped"] is True
    assert json.loads(office.with_key("signing", "lift").stdout)["stopped"] is False
    assert json.loads(office.run("signing", "show").stdout)["approvers"] == ["mei"]


def test_a_key_is_made_once_and_says_its_public_half(office: Office) -> None:
    path = str(office.folder / "new.pem")
    words = ["--passphrase-file", str(office.folder / "words")]
    made = office.run("approver-key", path, "--new", *words)
    again = office.run("approver-key", path, *words)
    assert made.stdout == again.stdout
    assert SigningKey.from_seed(bytes(32)).public_hex != made.stdout.strip()
    assert len(made.stdout.strip()) == 64


def test_a_permit_for_a_group_is_one_signature_over_the_root_of_its_list(office: Office) -> None:
    wanted = ["--action", "app.restart", "--asked-by", "desk", "--group", f"site={office.api.fleet.site}"]
    made = office.with_key("permit", *wanted)
    assert (made.exit_code, "for 2 devices" in made.stdout) == (0, True), made.output
    [listed] = office.api.get("/api/v1/permits").json()["items"]
    assert sorted(listed["targets"]) == sorted([office.api.fleet.gateway, office.api.fleet.terminal])
    assert office.state(office.ask()) == "PUBLISHED"
    [(_, command)] = office.api.broker.commands()
    assert command.target_proof is not None
    assert office.api.fleet.gateway not in str(command.authorisation)
    assert office.with_key("permit", *wanted[:-1], "site=s-nowhere").exit_code == 2
