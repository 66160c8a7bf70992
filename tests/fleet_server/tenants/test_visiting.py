"""An operator of the installation in a tenant that is not his: what he sees, what he may not, and who hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.audit.models import AuditEntry
from fleet_server.auth.models import ApiToken
from fleet_server.auth.roles import VISITING, Permission, Role
from fleet_server.db import reading, transaction
from fleet_server.kit.times import utc_now
from fleet_server.tenants.service import TenantService
from tests.fleet_server.factories import actor
from tests.fleet_server.two_tenants import OURS, SECRET, THEIRS, Two, add_token, bearer, two_tenants


@pytest.fixture(name="two")
def _two(engine: Engine, tmp_path: Path) -> Iterator[Two]:
    with two_tenants(engine, tmp_path) as two:
        yield two


class Console:
    def __init__(self, two: Two, tenant: str = OURS, role: Role = Role.OPERATOR) -> None:
        self._two = two
        self._cookie, self._csrf = two.session_of(tenant, role)

    def get(self, path: str) -> Any:
        self._two.client.cookies.clear()
        return self._two.client.get(path, headers=self._cookie)

    def post(self, path: str, **form: str) -> Any:
        self._two.client.cookies.clear()
        return self._two.client.post(path, headers=self._cookie, data={**form, "csrf": self._csrf})


def deeds(two: Two, tenant: str) -> list[tuple[str, str]]:
    with reading(two.engine) as session:
        rows = session.exec(select(AuditEntry).where(AuditEntry.tenant_id == tenant)).all()
    return [(row.actor, row.action) for row in rows if "visit" in row.action]


def visit_by_token(two: Two, name: str = "operator") -> dict[str, str]:
    made = two.client.post("/api/v1/visits", json={"tenant": THEIRS}, headers=bearer(OURS, name))
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['token']}"}


def test_a_look_begins_and_ends_by_word_and_stands_in_the_audit_of_whom_it_concerns(two: Two) -> None:
    console = Console(two)
    assert SECRET in console.get("/").text
    assert console.get(f"/devices/{two.theirs.terminal}").status_code == 404
    assert 'id="visiting"' not in console.get("/").text
    assert console.post(f"/tenants/{THEIRS}/visit").status_code == 303
    page = console.get("/").text
    assert ('id="visiting"' in page, THEIRS in page, SECRET in page) == (True, True, False)
    assert console.get(f"/devices/{two.theirs.terminal}").status_code == 200
    assert console.get(f"/devices/{two.ours.terminal}").status_code == 404
    assert console.post("/visit/end").status_code == 303
    assert console.get(f"/devices/{two.theirs.terminal}").status_code == 404
    who = f"operator:p-{OURS}-operator"
    assert deeds(two, THEIRS) == [(who, "visit_begun"), (who, "visit_ended")]
    assert deeds(two, OURS) == []


def test_a_visitor_runs_nothing_and_manages_no_tokens_devices_or_approvals(two: Two) -> None:
    console = Console(two)
    console.post(f"/tenants/{THEIRS}/visit")
    assert console.post(f"/devices/{two.theirs.terminal}/runs", action="agent.echo").status_code == 403
    assert console.get("/enrolment").status_code == 403
    headers = visit_by_token(two)
    body = {"device": two.theirs.terminal, "action": "agent.echo", "params": {}}
    assert two.client.post("/api/v1/executions", json=body, headers=headers).status_code == 403
    assert two.client.get("/api/v1/permits", headers=headers).status_code == 403
    assert not VISITING & {Permission.REQUEST_CHECK, Permission.REQUEST_FIX, Permission.APPROVALS_DECIDE}


def test_a_visitors_token_sees_the_visited_tenant_only_and_opens_no_further_door(two: Two) -> None:
    headers = visit_by_token(two)
    listed = two.client.get("/api/v1/devices", headers=headers).json()["items"]
    assert {one["id"] for one in listed} == {two.theirs.gateway, two.theirs.terminal}
    assert two.client.get(f"/api/v1/devices/{two.ours.terminal}", headers=headers).status_code == 404
    assert two.client.post("/api/v1/visits", json={"tenant": OURS}, headers=headers).status_code == 403
    assert deeds(two, THEIRS) == [(f"operator:t-{OURS}-operator", "visit_begun")]
    with reading(two.engine) as session:
        (row,) = session.exec(select(ApiToken).where(ApiToken.is_visit == True)).all()  # noqa: E712 - a column
    assert row.expires_at is not None
    assert row.tenant_id == THEIRS


def test_a_narrowed_token_is_no_wider_in_the_tenant_that_it_visits(two: Two) -> None:
    with transaction(two.engine) as session:
        add_token(session, OURS, "narrow", Role.OPERATOR, {Permission.TENANTS_MANAGE, Permission.DEVICES_READ})
    headers = visit_by_token(two, "narrow")
    assert two.client.get("/api/v1/devices", headers=headers).status_code == 200
    assert two.client.get("/api/v1/audit", headers=headers).status_code == 403


@pytest.mark.parametrize(("tenant", "role"), [(THEIRS, Role.OPERATOR), (OURS, Role.TENANT_ADMIN), (OURS, Role.AUDITOR)])
def test_nobody_else_looks_into_a_tenant_that_is_not_theirs(two: Two, tenant: str, role: Role) -> None:
    console, other = Console(two, tenant, role), OURS if tenant == THEIRS else THEIRS
    assert console.post(f"/tenants/{other}/visit").status_code == 403
    assert two.client.post("/api/v1/visits", json={"tenant": other}, headers=bearer(tenant, role)).status_code == 403
    assert deeds(two, other) == []


def test_a_visitor_makes_no_operator_and_a_tenant_that_is_not_there_is_none(two: Two) -> None:
    console = Console(two)
    assert console.post("/tenants/nobody/visit").status_code == 404
    console.post(f"/tenants/{THEIRS}/visit")
    assert console.post("/people", name="mallory", role="operator").status_code == 403
    assert console.post("/people", name="anna", role="tenant_admin").status_code == 200
    assert "anna" in console.get("/people").text
    console.post("/visit/end")
    assert "anna" not in console.get("/people").text


def test_a_suspended_tenant_can_still_be_looked_into(two: Two) -> None:
    with transaction(two.engine) as session:
        TenantService(session, actor(Role.OPERATOR, tenant=OURS), utc_now()).suspend(THEIRS, "the bill")
    headers = visit_by_token(two)
    assert two.client.get("/api/v1/devices", headers=headers).status_code == 200
    assert two.client.get("/api/v1/devices", headers=bearer(THEIRS, "viewer")).status_code == 401


def test_what_is_of_all_tenants_is_not_done_out_of_a_visit(two: Two) -> None:
    headers = visit_by_token(two)
    answer = two.client.post("/api/v1/signing/stop", json={"reason": "they asked for it"}, headers=headers)
    assert answer.status_code == 403
    assert two.client.get("/api/v1/tenants", headers=headers).status_code == 403
