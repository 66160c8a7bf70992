"""From the HTTP request to the verdict on the event stream, over a real broker and a real socket."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fleet_server.db import open_engine
from protocol.commands import CANCEL
from protocol.executions import ExecutionState
from protocol.records import ExecutionReport
from tests.fleet_server.api import add_callers, bearer
from tests.fleet_server.executions.conftest import COMMAND_KEY
from tests.integration.server.conftest import Server, command_in, running_http
from tests.integration.server.event_stream import EventStream, followed
from tests.support.broker import Broker
from tests.support.engines import migrated_sqlite
from tests.support.ingest_worker import settings_for
from tests.support.signing import local_signer
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration
EXECUTIONS = "/api/v1/executions"


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, headers=bearer("support"), timeout=20) as client:
        yield client


def ask(http: httpx2.Client, server: Server, action: str = "agent.echo") -> dict[str, Any]:
    answer = http.post(EXECUTIONS, json={"device": server.fleet.terminal, "action": action})
    assert answer.status_code == 201, answer.text
    asked: dict[str, Any] = answer.json()
    return asked


def shown(http: httpx2.Client, execution: str) -> dict[str, Any]:
    body: dict[str, Any] = http.get(f"{EXECUTIONS}/{execution}").json()
    return body


def follow(server: Server, path: str, last_event_id: int | None = None) -> AbstractContextManager[EventStream]:
    return followed(server.url, path, bearer("support"), last_event_id)


def is_verdict_of(execution: str) -> Any:
    return lambda event: event["type"] == "verdict" and event["execution"] == execution


def test_check_of_an_online_device_shows_its_verdict_on_an_open_stream_at_once(
    http: httpx2.Client, server: Server, agent: WireAgent
) -> None:
    agent.connect()
    agent.greet()
    took_ms = []
    with follow(server, f"/api/v1/devices/{server.fleet.terminal}/events") as stream:
        for _ in range(20):
            began = time.perf_counter()
            execution = ask(http, server)["id"]
            stream.await_first(is_verdict_of(execution), "the verdict on the stream")
            found = stream.first(is_verdict_of(execution))
            assert found is not None
            took_ms.append((found[0] - began) * 1000)
    # The figure itself is the bench's; here everything shares one process and a noisy machine.
    assert statistics.median(took_ms) < 1000
    assert shown(http, execution)["state"] == "SUCCEEDED"


def test_request_of_an_offline_device_runs_when_it_says_hello(
    http: httpx2.Client, server: Server, agent: WireAgent
) -> None:
    check, fix = ask(http, server)["id"], ask(http, server, "app.restart")["id"]
    assert shown(http, check)["state"] == "QUEUED"
    with follow(server, f"{EXECUTIONS}/{check}/events") as stream:
        agent.connect()
        agent.greet()
        until(stream.ended.is_set, "the end of the stream after the final state")
    states = [event["data"]["state"] for _, event in stream.events if event["type"] == "execution"]
    assert states == ["QUEUED", "PUBLISHED", "RUNNING", "SUCCEEDED"]
    until(lambda: shown(http, fix)["state"] == "SUCCEEDED", "the fix")


def test_stream_that_was_cut_goes_on_after_the_last_event_it_told(
    http: httpx2.Client, server: Server, agent: WireAgent
) -> None:
    agent.connect()
    agent.greet()
    path = f"/api/v1/devices/{server.fleet.terminal}/events"
    with follow(server, path) as stream:
        first = ask(http, server)["id"]
        last = stream.await_first(is_verdict_of(first), "the first verdict")["id"]
    missed = ask(http, server)["id"]
    until(lambda: shown(http, missed)["is_final"], "the second execution")
    with follow(server, path, last) as stream:
        stream.await_first(is_verdict_of(missed), "the verdict that was missed")
        assert min(event["id"] for _, event in stream.events) > last


def test_cancel_is_asked_of_the_device_and_its_answer_ends_the_execution(
    http: httpx2.Client, server: Server, agent: WireAgent
) -> None:
    def cancel_only(payload: bytes) -> None:
        command = command_in(payload)
        if command.action == CANCEL:
            ended = ExecutionReport(str(command.params["execution"]), ExecutionState.CANCELLED, code="cancelled")
            agent.send(ended, device=command.audience)
        else:
            agent.send(ExecutionReport(command.execution, ExecutionState.STORED), device=command.audience)

    agent.on_command = cancel_only
    agent.connect()
    agent.greet()
    execution = ask(http, server, "app.restart")["id"]
    until(lambda: shown(http, execution)["state"] == "STORED", "the device's word")
    assert http.post(f"{EXECUTIONS}/{execution}/cancel").json()["cancel_asked_by"] == "support"
    until(lambda: shown(http, execution)["state"] == "CANCELLED", "the device's answer to the cancel")


def test_server_that_stops_ends_its_streams_instead_of_waiting_for_them(broker: Broker, tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{migrated_sqlite(tmp_path)}")
    add_callers(engine)
    settings = replace(settings_for(broker, tmp_path), url="http://127.0.0.1")
    serving = ExitStack()
    url = serving.enter_context(running_http(settings, engine, local_signer(COMMAND_KEY, None)))
    with followed(url, "/api/v1/events", bearer("viewer")) as stream:
        began = time.monotonic()
        serving.close()
        assert stream.ended.wait(20)
    # Its patience with connections is 10 s in these tests.
    assert time.monotonic() - began < 8
    engine.dispose()
