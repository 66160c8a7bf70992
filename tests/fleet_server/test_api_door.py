"""What holds for every endpoint of the JSON door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlmodel import Session
from structlog.testing import capture_logs

from fleet_server.db import transaction
from fleet_server.enrollment.models import Enrolment
from fleet_server.ingest.installation import save_worker
from fleet_server.kit.identifiers import device_id, uuid7
from fleet_server.kit.rate_limit import TokenBuckets
from fleet_server.kit.times import utc_now
from tests.fleet_server.api import OTHER_TENANT, Api, bearer, running_api
from tests.fleet_server.factories import TENANT
from tests.fleet_server.routes import routes_of

NOWHERE = "0198d0a0-0000-7000-8000-000000000009"


@pytest.fixture
def api(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(sqlite_engine, tmp_path) as running:
        yield running


def endpoints(api: Api) -> list[tuple[str, str]]:
    document = api.client.get("/openapi.json").json()
    paths = document["paths"].items()
    return [(method, path) for path, methods in paths for method in methods if path.startswith("/api/")]


def asked(api: Api, path: str, device: str) -> str:
    body = {"device": api.fleet.terminal, "action": "agent.echo"}
    execution = api.post("/api/v1/executions", body).json()["id"] if "{execution_id}" in path else ""
    path = path.replace("{device_id}", device).replace("{execution_id}", execution).replace("{date}", "2026-03-02")
    return path.replace("{enrolment_id}", made_enrolment(api)) if "{enrolment_id}" in path else path


def made_enrolment(api: Api) -> str:
    row = Enrolment(
        id=uuid7(utc_now()),
        tenant_id=TENANT,
        kind="new",
        state="pending",
        device_id=device_id(),
        serial_number="S1",
        model="M",
        terminal_class="smart",
        created_by="lin",
        created_at=utc_now(),
        expires_at=utc_now(),
    )
    with transaction(api.engine) as session:
        session.add(row)
    return row.id


def test_every_endpoint_refuses_who_brings_no_token_or_a_wrong_one(api: Api) -> None:
    tried = endpoints(api)
    assert len(tried) >= 11
    for method, path in tried:
        for headers in ({}, bearer("nobody"), {"Authorization": "Basic dm9pZDp2b2lk"}):
            answer = api.client.request(method, asked(api, path, api.fleet.terminal), headers=headers)
            assert (method, path, answer.status_code) == (method, path, 401)
            assert answer.json()["code"]
            assert answer.headers["WWW-Authenticate"] == "Bearer"


# Without these the refusal would come before anybody is looked up.
BODIES: dict[str, Any] = {
    "/api/v1/sites/{site_id}": {"phone": "02155550102"},
    "/api/v1/devices/{device_id}/site": {"site": "s-one-0001"},
    "/api/v1/inspections/{inspection_id}": {"name": "nightly", "checks": ["agent.echo"], "version": 1},
    "/api/v1/executions/{execution_id}/consent": {"code": "123456"},
    "/api/v1/approvals/{execution_id}/break-glass": {"envelope": "{}"},
    "/api/v1/devices/{device_id}/retirement": {"reason": "stolen"},
    "/api/v1/enrolments/{enrolment_id}/approve": {},
}
# An operator decides nothing, whosever it is.
DECIDED = {
    "/api/v1/approvals/{execution_id}/signatures",
    "/api/v1/approvals/{execution_id}/refuse",
    "/api/v1/permits/{permit_id}/withdraw",
}


def test_no_endpoint_shows_another_tenants_device_or_execution(api: Api) -> None:
    for method, path in endpoints(api):
        if "{" not in path:
            continue
        where = asked(api, path, api.fleet.terminal)
        answer = api.client.request(
            method,
            where,
            headers=bearer("stranger"),
            json=BODIES.get(path) if method in {"post", "put", "patch"} else None,
        )
        assert (path, answer.status_code) == (path, 403 if path in DECIDED else 404)
        known = {
            "assignment_not_found",
            "device_not_found",
            "execution_not_found",
            "approval_not_found",
            "permit_not_found",
            "enrolment_not_found",
            "freeze_not_found",
            "inspection_not_found",
            "playbook_not_found",
            "playbook_run_not_found",
            "site_not_found",
        }
        assert answer.json()["code"] in known or path in DECIDED


def test_lists_hold_nothing_of_another_tenant(api: Api) -> None:
    api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": "agent.echo"})
    assert {item["id"] for item in api.get("/api/v1/devices", "stranger").json()["items"]} == {
        "d-two-gateway",
        "d-two-terminal",
    }
    for path in ("/api/v1/executions", "/api/v1/faults"):
        assert api.get(path, "stranger").json() == {"items": [], "next": None}
    refused = api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": "agent.echo"}, "stranger")
    assert (refused.status_code, refused.json()["code"]) == (404, "device_not_found")


def test_refusals_of_the_framework_have_the_same_shape(api: Api) -> None:
    answers = {
        404: api.get("/api/v1/nothing-here"),
        405: api.client.delete("/api/v1/devices", headers=bearer("support")),
        422: api.get("/api/v1/devices", limit=1000),
    }
    for status, answer in answers.items():
        assert (answer.status_code, set(answer.json())) == (status, {"code", "detail"})
    assert answers[422].json()["code"] == "request_invalid"
    assert "limit" in answers[422].json()["detail"]


def test_input_is_never_in_the_answer_that_refuses_it(api: Api) -> None:
    answer = api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": 41111, "secret": "hunter2"})
    assert answer.status_code == 422
    assert "hunter2" not in answer.text
    assert "41111" not in answer.text


def test_bug_is_answered_as_500_without_its_text(api: Api) -> None:
    def disk_full(_session: Session) -> None:
        raise OSError("disk full at /secret")

    event.listen(Session, "before_commit", disk_full)
    try:
        with capture_logs() as logs:
            answer = api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": "agent.echo"})
    finally:
        event.remove(Session, "before_commit", disk_full)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert [(line["path"], str(line["exc_info"])) for line in logs] == [("/api/v1/executions", "disk full at /secret")]
    assert api.broker.published == []


def test_caller_that_comes_too_fast_is_told_when_to_come_again(api: Api) -> None:
    api.app.state.buckets = TokenBuckets(rate_per_s=0.1, burst=3)
    answers = [api.get("/api/v1/faults") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["code"] == "too_many_requests"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10
    assert api.get("/api/v1/faults", "viewer").status_code == 200


def test_cursor_that_was_not_given_out_is_refused(api: Api) -> None:
    for path in ("/api/v1/devices", "/api/v1/executions", "/api/v1/faults"):
        for cursor in ("nonsense", "WzEsMiwzXQ", "WyJ4IiwxXQ"):
            answer = api.get(path, cursor=cursor)
            assert (path, answer.status_code, answer.json()["code"]) == (path, 422, "cursor_invalid")


def test_operations_endpoints_are_open_and_name_nobody(api: Api) -> None:
    assert api.client.get("/healthz").json() == {"status": "ok"}
    ready = api.client.get("/readyz").json()
    assert ready["checks"]["database"] == "ok"
    assert ready["checks"]["broker"] == "ok"
    api.broker.is_connected = False
    lost = api.client.get("/readyz")
    assert (lost.status_code, lost.json()["checks"]["broker"]) == (503, "not connected")
    api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": "agent.echo"})
    with transaction(api.engine) as session:
        save_worker(session, "svc-fleet-1", Counter(dead=3), None, utc_now())
    counted = api.client.get("/metrics").text
    assert 'tillmedic_ingest_total{counted="dead",worker="svc-fleet-1"} 3.0' in counted
    assert 'tillmedic_executions{state="QUEUED"} 1.0' in counted
    # Of both tenants together, and no word on how many or which there are.
    assert 'tillmedic_devices_presence{presence="online"} 4.0' in counted
    assert OTHER_TENANT not in counted
    assert 'route="/api/v1/executions",status="201"' in counted
    assert api.fleet.terminal not in counted


def test_every_answer_carries_a_strict_policy(api: Api) -> None:
    for path in ("/healthz", "/api/v1/devices", "/openapi.json"):
        policy = api.client.get(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_description_names_the_token_and_no_unused_route(api: Api) -> None:
    document = api.client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert all(
        path.startswith(("/api/", "/healthz", "/readyz", "/metrics", "/enrol/", "/artifacts/"))
        for path in document["paths"]
    )
    served = {path for _, path in routes_of(api.app)}
    assert "/api/v1/devices" in served
    assert not served & {"/docs", "/redoc"}
