from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import col, update
from typer.testing import CliRunner, Result

from fleet_server.__main__ import make_app
from fleet_server.commands import connection
from fleet_server.commands.client import exit_code
from fleet_server.commands.client_words import _OUTCOMES, _PHASES, _STATES
from fleet_server.commands.connection import Connection, ServerRefused, ServerUnknown, connect
from fleet_server.commands.following import ParamUnreadable
from fleet_server.db import transaction
from fleet_server.devices.models import Device
from fleet_server.executions.reports import DeviceReport, apply_reports
from fleet_server.kit.times import utc_now
from fleet_server.timeline.writer import append_events
from protocol.executions import ExecutionState
from protocol.records import ExecutionReport, Outcome, Phase, Verdict
from tests.fleet_server.api import Api, bearer, running_api
from tests.fleet_server.factories import NOON, TENANT
from tests.support.health_rows import put_newest


@pytest.fixture
def api(sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with running_api(sqlite_engine, tmp_path) as running:
        running.client.headers.update(bearer("support"))
        names = {"zvt1": running.fleet.terminal}
        monkeypatch.setattr(connection, "connect", lambda *_: Connection(running.client, names))
        yield running


def run(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), [*arguments, "--lang", "en"])


def device_answers(api: Api, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, state: ExecutionState) -> None:
    """The terminal answers whatever is published to it."""

    def finish() -> None:
        ((_, command),) = api.broker.commands()
        now = utc_now()
        said: list[Verdict | ExecutionReport] = [
            Verdict(command.action, outcome, execution=command.execution, value=12, unit="ms"),
            ExecutionReport(command.execution, state, outcome=outcome),
        ]
        with transaction(api.engine) as session:
            reports = [DeviceReport(api.fleet.terminal, api.fleet.gateway, body, now) for body in said]
            append_events(session, TENANT, apply_reports(session, TENANT, reports, now), now)
        api.app.state.hub.notify()

    publish = api.broker.publish

    def publish_and_answer(topic: str, *more: Any) -> bool:
        if topic.endswith("/down/command"):
            threading.Timer(0.05, finish).start()
        return publish(topic, *more)

    monkeypatch.setattr(api.broker, "publish", publish_and_answer)


def test_check_is_followed_to_its_verdict(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    device_answers(api, monkeypatch, Outcome.PASS, ExecutionState.SUCCEEDED)
    result = run("check", "zvt1", "net.path", "count=2")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "handed to the broker" in lines[0]
    assert "pass  12 ms" in lines[1]
    assert lines[-1] == "Network path  done  pass"
    ((_, command),) = api.broker.commands()
    assert command.params == {"count": 2}


@pytest.mark.parametrize(
    ("outcome", "state", "code"),
    [
        (Outcome.WARN, ExecutionState.SUCCEEDED, 0),
        (Outcome.FAIL, ExecutionState.SUCCEEDED, 1),
        (Outcome.FAIL, ExecutionState.FAILED, 1),
        (Outcome.ERROR, ExecutionState.SUCCEEDED, 2),
        (Outcome.ERROR, ExecutionState.REJECTED, 2),
    ],
)
def test_exit_code_tells_what_was_found(
    api: Api, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, state: ExecutionState, code: int
) -> None:
    device_answers(api, monkeypatch, outcome, state)
    result = run("check", "zvt1", "agent.echo", "--json")
    assert result.exit_code == code, result.output
    assert json.loads(result.stdout)["state"] == state.value


def test_request_that_waits_for_its_device_says_so_and_could_not_be_told(api: Api) -> None:
    with transaction(api.engine) as session:
        session.execute(update(Device).values(presence="offline"))
    result = run("check", "zvt1", "agent.echo", "--wait", "0")
    assert result.exit_code == 2
    assert "waits in the queue until" in result.output


def test_device_is_found_by_any_of_its_names(api: Api) -> None:
    for name in ("zvt1", api.fleet.terminal, "SND-ONE-TERMINAL", "T-d-one-terminal"):
        assert run("timeline", name, "--json").exit_code == 0
    ambiguous = run("timeline", "dawn")
    assert "finds 2 devices" in str(ambiguous.exception)
    unknown = run("timeline", "nowhere")
    assert "device_not_found" in str(unknown.exception)


def test_devices_and_timeline_are_listed_in_words_and_as_json(api: Api) -> None:
    listed = run("devices")
    assert len(listed.output.splitlines()) == 2
    assert "Dawn Convenience" in listed.output
    assert "T-d-one-terminal" in listed.output
    assert len(json.loads(run("devices", "terminal", "--json").stdout)["items"]) == 1
    assert run("devices", "nothing-like-it").output.strip() == "No device was found."
    api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": "agent.echo"})
    (line,) = run("timeline", "zvt1").output.splitlines()
    assert "agent.echo  handed to the broker" in line


def test_without_an_action_the_declared_ones_are_listed(api: Api) -> None:
    assert "net.path  Network path  [count=integer] [deep=switch]" in run("check", "zvt1").output
    assert "app.restart" in run("fix", "zvt1").output
    assert "app.restart" not in run("check", "zvt1").output
    refused = run("check", "zvt1", "app.restart")
    assert (refused.exit_code, "does not offer app.restart" in refused.stderr) == (2, True)


def test_params_are_read_as_their_declared_types(api: Api) -> None:
    for text in ("count=two", "deep=perhaps", "nothing=1", "count"):
        assert "expected" in str(run("check", "zvt1", "net.path", text).exception)


def test_missing_address_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServerUnknown, match="--url and --token"):
        connect("", "", tmp_path)


def test_text_of_a_device_cannot_command_the_shell(api: Api) -> None:
    with transaction(api.engine) as session:
        session.execute(update(Device).values(serial_number="\x1b[2JSN"))
    assert "\x1b" not in run("devices").output


def test_every_state_and_outcome_has_words_in_both_languages() -> None:
    assert _STATES.keys() == {state.value for state in ExecutionState}
    assert _OUTCOMES.keys() == {outcome.value for outcome in Outcome}
    assert _PHASES.keys() == {phase.value for phase in Phase}
    assert all(zh and en for words in (_STATES, _OUTCOMES, _PHASES) for zh, en in words.values())
    assert exit_code({"result": "ran", "verdict": None}) == 0
    assert exit_code({"result": "fixed", "verdict": "pass"}) == 0
    assert exit_code({"result": "came_back", "verdict": "pass"}) == 1
    assert exit_code({"result": "no_answer", "verdict": None}) == 2


def test_a_distribution_is_shown_by_model_and_version_in_words_and_as_json(api: Api) -> None:
    assert run("distribution", "net.rtt_ms").output.strip() == "No device has a value of this reading."
    with transaction(api.engine) as session:
        put_newest(session, TENANT, api.fleet.terminal, {"net.rtt_ms": 38.25}, NOON)
        put_newest(session, TENANT, api.fleet.gateway, {"net.rtt_ms": 90_000}, NOON)
        session.execute(update(Device).where(col(Device.id) == api.fleet.gateway).values(firmware="2\x1b[0m"))
    heading, names, *groups = run("distribution", "net.rtt_ms").output.splitlines()
    assert heading.endswith("ms")
    assert names.split("\t")[:4] == ["model", "version", "devices", "out of range"]
    assert sorted(group.split("\t")[1:6] for group in groups) == [
        ["-", "1", "0", "0", "38.25"],
        ["2\\u001b[0m", "1", "1", "0", "90000"],
    ]
    found = json.loads(run("distribution", "net.rtt_ms", "--kind", "gateway", "--by", "agent", "--json").stdout)
    assert (found["by"], found["devices"]) == ("agent", 1)
    assert "should be 'terminal'" in str(run("distribution", "net.rtt_ms", "--kind", "boat").exception)


def test_software_is_asked_for_with_the_sum_of_a_file_that_is_at_hand(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "payment.bin"
    file.write_bytes(b"abc")
    asked: list[Any] = []
    answer = Connection.post

    def watched(self: Connection, path: str, body: dict[str, Any]) -> Any:
        asked.append(body.get("artifact"))
        return answer(self, path, body)

    monkeypatch.setattr(Connection, "post", watched)
    result = run("fix", "zvt1", "app.install", "--artifact", "app/payment.bin", "--file", str(file))
    # The policy of this server names nobody who could sign.
    assert "class_not_offered" in str(result.exception)
    # Published with the algorithm: FIPS 180, SHA-256 of "abc".
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert asked == [{"path": "app/payment.bin", "length": 3, "sha256": sha256}]


@pytest.mark.parametrize("words", [["--artifact", "app/payment.bin"], ["--file", "README.md"]])
def test_software_needs_both_its_name_and_its_file(api: Api, words: list[str]) -> None:
    refused = run("fix", "zvt1", "app.install", *words).exception
    assert isinstance(refused, ParamUnreadable)


def test_software_without_an_artifact_is_refused_in_words(api: Api) -> None:
    assert "expected the artifact that people are to sign for" in str(run("fix", "zvt1", "app.install").exception)


def test_a_freeze_is_declared_listed_and_ended_from_the_shell(api: Api) -> None:
    api.client.headers.update(bearer("approver"))
    assert "no freeze" in run("freezes", "list").output
    begin, until = (f"{utc_now() + timedelta(days=days):%Y-%m-%d}" for days in (2, 3))
    planned = run("freezes", "declare", "Double 11", "--from", begin, "--until", until)
    assert planned.exit_code == 0, planned.output
    assert "planned" in planned.output
    assert "in force" in run("freezes", "declare", "National Day", "--until", until).output
    held = run("fix", "zvt1", "app.restart", "--planned", "--wait", "0")
    assert isinstance(held.exception, ServerRefused)
    assert "freeze_in_force" in str(held.exception)
    lines = run("freezes", "list").output.splitlines()
    assert ["National Day" in line for line in lines] == [True, False]
    ended = run("freezes", "end", lines[0].split()[0])
    assert "ended early by approver" in ended.output
    assert len(run("freezes", "list").output.splitlines()) == 1
    assert "over" in run("freezes", "list", "--all").output
    assert "Spring Festival" in run("freezes", "occasions").output
    assert '"key": "double_11"' in run("freezes", "occasions", "--json").output
