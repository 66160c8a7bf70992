from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import update

from fleet_server.db import transaction
from fleet_server.devices.models import Device
from fleet_server.executions.reports import DeviceReport, apply_reports
from fleet_server.kit.times import utc_now
from fleet_server.timeline.writer import append_events
from protocol.executions import ExecutionState
from protocol.records import ExecutionReport, Outcome, Verdict
from tests.fleet_server.api import Api, bearer, running_api
from tests.fleet_server.factories import TENANT

EXECUTIONS = "/api/v1/executions"


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        yield running


def ask(api: Api, action: str = "agent.echo", params: dict[str, Any] | None = None, key: str | None = None) -> Any:
    body = {"device": api.fleet.terminal, "action": action, "params": params or {}}
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.post(EXECUTIONS, body, **headers)


def say(api: Api, *bodies: ExecutionReport | Verdict) -> None:
    now = utc_now()
    with transaction(api.engine) as session:
        reports = [DeviceReport(api.fleet.terminal, api.fleet.gateway, body, now) for body in bodies]
        append_events(session, TENANT, apply_reports(session, TENANT, reports, now), now)
    api.app.state.hub.notify()


def finish(api: Api, execution_id: str) -> None:
    say(
        api,
        Verdict("agent.echo", Outcome.PASS, execution=execution_id, value=1, unit="ms"),
        ExecutionReport(execution_id, ExecutionState.SUCCEEDED, outcome=Outcome.PASS),
    )


def events_in(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def test_check_is_asked_sent_reported_and_shown_with_its_verdict(api: Api) -> None:
    asked = ask(api)
    assert asked.status_code == 201
    body = asked.json()
    assert (body["state"], body["device"], body["verdict"]) == ("PUBLISHED", api.fleet.terminal, None)
    assert body["queued_until"].endswith("Z")
    ((_, command),) = api.broker.commands()
    assert command.execution == body["id"]
    finish(api, body["id"])
    done = api.get(f"{EXECUTIONS}/{body['id']}").json()
    assert (done["state"], done["verdict"], done["is_final"]) == ("SUCCEEDED", "pass", True)
    ((result),) = done["results"]
    assert (result["outcome"], result["value"], result["unit"]) == ("pass", 1, "ms")


def test_stream_of_an_ended_execution_tells_everything_and_ends(api: Api) -> None:
    execution = ask(api).json()["id"]
    finish(api, execution)
    answer = api.client.get(f"{EXECUTIONS}/{execution}/events", headers=bearer("support"))
    told = events_in(answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [(event["type"], event["data"].get("state")) for event in told] == [
        ("execution", "PUBLISHED"),
        ("verdict", None),
        ("execution", "SUCCEEDED"),
    ]
    assert {event["execution"] for event in told} == {execution}
    resumed = api.client.get(
        f"{EXECUTIONS}/{execution}/events", headers={**bearer("support"), "Last-Event-ID": str(told[0]["id"])}
    )
    assert events_in(resumed.text) == told[1:]
    after_the_end = {**bearer("support"), "Last-Event-ID": str(told[-1]["id"])}
    assert events_in(api.client.get(f"{EXECUTIONS}/{execution}/events", headers=after_the_end).text) == []


def test_false_is_no_number_and_text_is_no_number(api: Api) -> None:
    for count in (False, "3", 3.5, None, [3], 10**20):
        answer = ask(api, "net.path", {"count": count})
        assert (count, answer.status_code) == (count, 422)
    assert ask(api, "net.path", {"count": 3}).status_code == 201
    assert ask(api, "net.path", {"deep": True}).status_code == 201
    assert ask(api, "net.path", {"deep": 1}).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"device": "d-one-terminal"},
        {"device": "d-one-terminal", "action": "agent.echo", "params": []},
        {"device": "d-one-terminal", "action": "agent.echo", "extra": 1},
        {"device": ["d-one-terminal"], "action": "agent.echo"},
        {"device": "d-one-terminal", "action": "agent.echo", "override_reason": "x"},
        [],
        "agent.echo",
    ],
)
def test_body_that_is_not_as_described_is_refused(api: Api, body: Any) -> None:
    answer = api.post(EXECUTIONS, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


def test_numbers_that_are_none_are_refused(api: Api) -> None:
    raw = '{"device": "d-one-terminal", "action": "net.path", "params": {"count": NaN}}'
    headers = {**bearer("support"), "Content-Type": "application/json"}
    assert api.client.post(EXECUTIONS, content=raw, headers=headers).status_code == 422


def test_unknown_device_and_action_are_told_apart(api: Api) -> None:
    unknown = api.post(EXECUTIONS, {"device": "d-nowhere", "action": "agent.echo"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "device_not_found")
    undeclared = ask(api, "agent.nothing")
    assert (undeclared.status_code, undeclared.json()["code"]) == (422, "action_not_declared")


def test_role_decides(api: Api) -> None:
    body = {"device": api.fleet.terminal, "action": "app.restart"}
    refused = api.post(EXECUTIONS, body, "technician")
    assert (refused.status_code, refused.json()["code"]) == (403, "role_too_low")
    assert api.post(EXECUTIONS, body, "support").status_code == 201


def test_same_idempotency_key_asks_once(api: Api) -> None:
    first = ask(api, key="k-1")
    again = ask(api, key="k-1")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert len(api.broker.commands()) == 1
    other = ask(api, "net.path", key="k-1")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


def test_same_key_at_the_same_moment_asks_once(api: Api) -> None:
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: ask(api, key="k-2"), range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(api.broker.commands()) == 1


def test_queued_execution_is_cancelled_and_only_once(api: Api) -> None:
    with transaction(api.engine) as session:
        session.execute(update(Device).values(presence="offline"))
    execution = ask(api).json()
    assert execution["state"] == "QUEUED"
    cancelled = api.post(f"{EXECUTIONS}/{execution['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "CANCELLED")
    again = api.post(f"{EXECUTIONS}/{execution['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "execution_finished")


def test_list_is_filtered_and_paged(api: Api) -> None:
    ids = [ask(api).json()["id"] for _ in range(5)]
    finish(api, ids[0])
    first = api.get(EXECUTIONS, device=api.fleet.terminal, limit=2).json()
    rest = api.get(EXECUTIONS, device=api.fleet.terminal, limit=200, cursor=first["next"]).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next"] is None
    assert [item["id"] for item in api.get(EXECUTIONS, state="SUCCEEDED").json()["items"]] == ids[:1]
    assert len(api.get(EXECUTIONS, open="true").json()["items"]) == 4
    assert api.get(EXECUTIONS, device=api.fleet.gateway).json()["items"] == []
    assert api.get(EXECUTIONS, state="nonsense").status_code == 422


def test_deadline_of_a_queue_is_shown_as_it_is_kept(api: Api) -> None:
    before = utc_now()
    queued_until = ask(api, "app.restart").json()["queued_until"]
    assert queued_until[:13] == (before + timedelta(hours=24)).isoformat()[:13]
