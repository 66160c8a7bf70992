"""Class 2 on the server's side: what is asked names its artifact, two different people sign it, and the terminal's own
rules take what comes of it. No agent of the product has such an action yet: the tests' fleet declares one.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from device_agent.actions import Definition
from device_agent.core.command_gate import Accepted, CommandGate, Decision, Refused, Standing
from fleet_server.__main__ import make_app
from fleet_server.approvals.keys import make_key
from fleet_server.commands import connection
from fleet_server.commands.connection import Connection
from fleet_server.kit.times import to_ms, utc_now
from protocol import codec
from protocol.authorisations import Artifact, sha256_of
from protocol.capabilities import StepNature
from protocol.commands import COMMAND_TYPE, Command, DangerClass, Refusal
from protocol.identifiers import ActionName, DeviceId
from protocol.signing import Envelope, SigningKey, sign
from tests.device_agent.core.invented import a_fix
from tests.fleet_server.api import Api, bearer, running_api
from tests.fleet_server.approvals.test_endpoints import (
    APPROVERS,
    LIN,
    MEI,
    MEI_TOO,
    WU,
    approve,
    of_a_group,
    state,
)
from tests.fleet_server.executions.conftest import COMMAND_KEY
from tests.fleet_server.factories import INSTALL
from tests.support.signing import signer_with

ARTIFACT: dict[str, Any] = {"path": "app/payment-4.2.bin", "length": 1_048_576, "sha256": "ab" * 32}
PASSPHRASE = "a passphrase of words"


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path, signer_with(COMMAND_KEY, APPROVERS)) as running:
        yield running


def ask(api: Api, **more: Any) -> Any:
    return api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": "app.install", **more})


def asked(api: Api) -> str:
    answer = ask(api, artifact=ARTIFACT)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def decided(api: Api, command: Command, held: Artifact | None) -> Decision:
    """By the terminal's own gate, with ``held`` in its store."""
    gate = CommandGate(api.app.state.dispatcher.policy(utc_now()), lambda _name: None, lambda: "0" * 32)
    gate.held = lambda _wanted: held
    definition = dataclasses.replace(a_fix("app.install", StepNature.IDEMPOTENT), declared=INSTALL)
    devices: Mapping[DeviceId, Mapping[str, Definition]] = {
        DeviceId(command.audience): {ActionName("app.install"): definition}
    }
    standing = Standing("default", command.nonce or "", to_ms(utc_now()), devices, ())
    payload = codec.to_json(sign(COMMAND_TYPE, codec.to_json(command), [COMMAND_KEY]))
    return gate.decide(payload, standing)


def refusal(decision: Decision) -> Refusal:
    assert isinstance(decision, Refused)
    return decision.refusal


def test_two_different_people_sign_and_the_terminal_takes_it_with_the_very_file(api: Api) -> None:
    execution = asked(api)
    [listed] = api.get("/api/v1/approvals", "approver").json()["items"]
    assert (listed["needed"], listed["document"]["artifact"]) == (2, ARTIFACT)
    assert approve(api, execution, MEI).json()["state"] == "AWAITING_APPROVAL"
    for key, code in ((MEI, "already_approved"), (MEI_TOO, "already_approved"), (LIN, "approver_is_requester")):
        assert approve(api, execution, key).json()["code"] == code
    assert (state(api, execution), api.broker.commands()) == ("AWAITING_APPROVAL", [])
    assert approve(api, execution, WU).json()["state"] == "PUBLISHED"
    [(_, command)] = api.broker.commands()
    assert command.danger_class is DangerClass.SOFTWARE
    held = Artifact(**ARTIFACT)
    assert isinstance(decided(api, command, held), Accepted)
    assert refusal(decided(api, command, None)) is Refusal.ARTIFACT
    assert refusal(decided(api, command, replace(held, sha256="cd" * 32))) is Refusal.ARTIFACT
    assert refusal(decided(api, with_one_signature(command), held)) is Refusal.AUTHORISATION_SIGNATURES
    assert refusal(decided(api, replace(command, consent=True, authorisation=None), held)) is (
        Refusal.AUTHORISATION_MISSING
    )


def with_one_signature(command: Command) -> Command:
    envelope = codec.from_json(str(command.authorisation).encode(), Envelope)
    assert isinstance(envelope, Envelope)
    assert len(envelope.signatures) == 2
    text = codec.to_json(replace(envelope, signatures=envelope.signatures[:1])).decode()
    return replace(command, authorisation=text, authorisation_sha256=sha256_of(text))


def test_an_artifact_belongs_to_class_2_and_class_2_to_an_artifact(api: Api) -> None:
    assert (ask(api).status_code, ask(api).json()["code"]) == (422, "params_invalid")
    answer = ask(api, action="app.restart", artifact=ARTIFACT)
    assert (answer.status_code, answer.json()["code"]) == (422, "params_invalid")
    for wrong in ({"path": "../up"}, {"length": 0}, {"sha256": "x"}, {"more": 1}):
        assert ask(api, artifact={**ARTIFACT, **wrong}).status_code == 422


def test_neither_a_shift_permit_nor_the_merchant_lets_software_out(api: Api) -> None:
    of_a_group(api, [api.fleet.terminal, "d-0000000000000001"])
    assert ask(api, artifact=ARTIFACT, consent=True).json()["state"] == "AWAITING_APPROVAL"
    assert api.broker.commands() == []


@pytest.mark.parametrize(
    "approvers", [[("mei", MEI)], [("mei", MEI), ("Mei", MEI_TOO)], [("mei", MEI), ("support", LIN)]]
)
def test_without_two_people_beside_who_asks_it_is_not_even_queued(
    engine: Engine, tmp_path: Path, approvers: list[tuple[str, SigningKey]]
) -> None:
    with running_api(engine, tmp_path, signer_with(COMMAND_KEY, approvers)) as api:
        answer = ask(api, artifact=ARTIFACT)
    assert (answer.status_code, answer.json()["code"]) == (409, "class_not_offered")
    assert "the policy names 1" in answer.json()["detail"]


def test_both_sign_at_the_command_line_without_any_page(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fleet-server approve --key FILE`: what is signed are the bytes that were shown, artifact included."""
    (tmp_path / "words").write_text(PASSPHRASE, "utf-8")
    keys = [(name, make_key(tmp_path / f"{name}.pem", PASSPHRASE)) for name in ("mei", "wu")]
    with running_api(sqlite_engine, tmp_path, signer_with(COMMAND_KEY, keys)) as api:
        execution = asked(api)
        api.client.headers.update(bearer("approver"))
        monkeypatch.setattr(connection, "connect", lambda *_: Connection(api.client, {}))
        first = sign_with(tmp_path, execution, "mei")
        assert (first.exit_code, "is AWAITING_APPROVAL" in first.stdout) == (0, True)
        assert ARTIFACT["sha256"] in first.stdout
        assert isinstance(sign_with(tmp_path, execution, "mei").exception, Exception)
        second = sign_with(tmp_path, execution, "wu")
        assert (second.exit_code, "is PUBLISHED" in second.stdout) == (0, True)
        [(_, command)] = api.broker.commands()
        assert isinstance(decided(api, command, Artifact(**ARTIFACT)), Accepted)
        shown = base64.b64decode(codec_payload(command))
        assert ARTIFACT["sha256"].encode() in shown


def codec_payload(command: Command) -> str:
    envelope = codec.from_json(str(command.authorisation).encode(), Envelope)
    assert isinstance(envelope, Envelope)
    return envelope.payload


def sign_with(folder: Path, execution: str, name: str) -> Result:
    files = ["--key", str(folder / f"{name}.pem"), "--passphrase-file", str(folder / "words")]
    return CliRunner().invoke(make_app(), ["approve", execution, "--yes", *files])
