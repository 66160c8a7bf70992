from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import col, delete, select

from fleet_server.assignments.models import Assignment
from fleet_server.assignments.service import FURTHEST, LONGEST, MAX_OPEN
from fleet_server.audit.models import AuditEntry
from fleet_server.auth.models import ApiToken, User
from fleet_server.auth.roles import Role
from fleet_server.db import reading, transaction
from fleet_server.kit.pagination import encode_cursor
from fleet_server.kit.times import utc_now
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.factories import NOON, TENANT, assignment

ASSIGNMENTS = "/api/v1/assignments"
HOUR = timedelta(hours=1)


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        with transaction(engine) as session:
            session.exec(delete(Assignment))
            session.add(_person("zhang", Role.TECHNICIAN))
            session.add(_person("wang", Role.SUPPORT))
            session.add(_person("stranger", Role.TECHNICIAN, "other"))
        yield running


def _person(name: str, role: Role, tenant: str = TENANT) -> User:
    return User(id=f"p-{name}", tenant_id=tenant, name=name, password_hash="", role=role.value, created_at=NOON)


def assign(api: Api, caller: str = "support", **more: Any) -> Any:
    body = {"assignee": "technician", "device": api.fleet.terminal, "to": _in(HOUR), **more}
    return api.post(ASSIGNMENTS, {key: value for key, value in body.items() if value is not None}, caller)


def _in(span: timedelta) -> str:
    return (utc_now() + span).isoformat()


def seen(api: Api) -> set[str]:
    return {one["id"] for one in api.get("/api/v1/devices", "technician").json()["items"]}


def test_a_technician_sees_a_device_from_the_assignment_to_its_end(api: Api) -> None:
    assert seen(api) == set()
    made = assign(api)
    assert made.status_code == 201, made.text
    assert api.fleet.terminal in seen(api)
    ended = api.post(f"{ASSIGNMENTS}/{made.json()['id']}/end").json()
    assert datetime.fromisoformat(ended["to"]) <= utc_now()
    assert seen(api) == set()


def test_what_has_not_begun_is_not_seen_and_once_it_is_ended_never_begins(api: Api) -> None:
    made = assign(api, **{"from": _in(HOUR), "to": _in(2 * HOUR)}).json()
    assert seen(api) == set()
    ended = api.post(f"{ASSIGNMENTS}/{made['id']}/end").json()
    assert ended["from"] == ended["to"] == made["from"]


def test_ending_again_changes_nothing_and_is_no_entry(api: Api) -> None:
    path = f"{ASSIGNMENTS}/{assign(api).json()['id']}/end"
    first = api.post(path).json()
    assert api.post(path).json() == first
    with reading(api.engine) as session:
        entries = session.exec(select(AuditEntry).where(AuditEntry.action == "assignment_ended")).all()
    assert len(entries) == 1


def test_the_audit_says_who_was_given_what_by_reference(api: Api) -> None:
    made = assign(api, assignee="zhang", device=None, site=api.fleet.site).json()
    assert (made["assignee"], made["site"], made["device"], made["created_by"]) == (
        "zhang", api.fleet.site, None, "support",
    )  # fmt: skip
    with reading(api.engine) as session:
        entry = session.exec(select(AuditEntry).where(AuditEntry.action == "assignment_made")).one()
    assert entry.target == api.fleet.site
    assert entry.data == {
        "assignment": made["id"], "of": "site", "assignee": "person:p-zhang", "from": made["from"], "to": made["to"],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["wang", "stranger", "nobody", "support"])
def test_only_a_technician_of_the_tenant_is_assigned_anything(api: Api, name: str) -> None:
    answer = assign(api, assignee=name)
    assert (answer.status_code, answer.json()["code"]) == (422, "assignee_unusable")


def test_a_technician_who_is_shut_out_is_assigned_nothing(api: Api) -> None:
    with transaction(api.engine) as session:
        session.get_one(User, "p-zhang").disabled_at = utc_now()
        session.get_one(ApiToken, "t-technician").revoked_at = utc_now()
    for name in ("zhang", "technician"):
        assert assign(api, assignee=name).json()["code"] == "assignee_unusable"


@pytest.mark.parametrize(
    "span",
    [
        {"to": -HOUR},
        {"from": 2 * HOUR, "to": HOUR},
        {"from": HOUR, "to": HOUR},
        {"from": timedelta(), "to": LONGEST + HOUR},
        {"from": FURTHEST + HOUR, "to": FURTHEST + 2 * HOUR},
    ],
)
def test_a_span_is_after_now_ends_after_it_begins_and_is_bounded(api: Api, span: dict[str, timedelta]) -> None:
    now = utc_now()
    answer = assign(api, **{name: (now + one).isoformat() for name, one in span.items()})
    assert (answer.status_code, answer.json()["code"]) == (422, "assignment_invalid")


@pytest.mark.parametrize("what", [{"device": None}, {"site": "s-one-0001"}])
def test_it_is_of_a_device_or_of_a_site(api: Api, what: dict[str, Any]) -> None:
    assert assign(api, **what).json()["code"] == "assignment_invalid"


def test_what_another_tenant_has_is_not_assigned(api: Api) -> None:
    assert assign(api, device="d-two-terminal").json()["code"] == "device_not_found"
    assert assign(api, device=None, site="s-two-0001").json()["code"] == "site_not_found"
    made = assign(api).json()
    assert api.post(f"{ASSIGNMENTS}/{made['id']}/end", caller="stranger").json()["code"] == "assignment_not_found"


@pytest.mark.parametrize("caller", ["viewer", "technician", "auditor"])
def test_who_may_not_assign_neither_does_nor_sees_what_is_assigned(api: Api, caller: str) -> None:
    made = assign(api).json()
    assert assign(api, caller).status_code == 403
    assert api.get(ASSIGNMENTS, caller).status_code == 403
    assert api.post(f"{ASSIGNMENTS}/{made['id']}/end", caller=caller).status_code == 403


def test_the_list_is_newest_first_in_pages_and_of_what_is_asked_for(api: Api) -> None:
    ids = [assign(api).json()["id"] for _ in range(3)]
    api.post(f"{ASSIGNMENTS}/{ids[0]}/end")
    first = api.get(ASSIGNMENTS, limit=2).json()
    rest = api.get(ASSIGNMENTS, limit=2, cursor=first["next"]).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next"] is None
    assert [one["id"] for one in api.get(ASSIGNMENTS, open=True).json()["items"]] == ids[:0:-1]
    assert api.get(ASSIGNMENTS, device="d-two-terminal").json()["items"] == []
    assert api.get(ASSIGNMENTS, cursor=encode_cursor(3)).json()["code"] == "cursor_invalid"


def test_one_technician_holds_a_bounded_number(api: Api) -> None:
    with transaction(api.engine) as session:
        session.add_all([assignment("t-technician", device_id=api.fleet.gateway) for _ in range(MAX_OPEN)])
    assert (assign(api).status_code, assign(api).json()["code"]) == (409, "too_many_assignments")
    with transaction(api.engine) as session:
        session.exec(delete(Assignment).where(col(Assignment.device_id) == api.fleet.gateway))
    assert assign(api).status_code == 201


def test_a_technician_asks_for_a_check_of_what_is_assigned_and_of_nothing_else(api: Api) -> None:
    body = {"device": api.fleet.terminal, "action": "agent.echo", "params": {}}
    assert api.post("/api/v1/executions", body, "technician").json()["code"] == "device_not_found"
    made = assign(api).json()
    run = api.post("/api/v1/executions", body, "technician", **{"Idempotency-Key": "k"})
    assert run.status_code == 201, run.text
    api.post(f"{ASSIGNMENTS}/{made['id']}/end")
    path = f"/api/v1/executions/{run.json()['id']}"
    assert api.get(path, "technician").status_code == 404
    assert api.post(f"{path}/cancel", caller="technician").status_code == 404
    # Not even by the key that it was asked for with.
    assert api.post("/api/v1/executions", body, "technician", **{"Idempotency-Key": "k"}).status_code == 404
