from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet_server.audit.models import AuditEntry
from fleet_server.db import reading
from fleet_server.freezes.rules import FURTHEST, LONGEST
from fleet_server.freezes.service import MAX_OPEN
from fleet_server.kit.times import utc_now
from tests.fleet_server.api import Api, running_api

FREEZES = "/api/v1/freezes"
HOUR = timedelta(hours=1)


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        yield running


def at(span: timedelta) -> str:
    return (utc_now() + span).isoformat()


def declare(api: Api, caller: str = "approver", **more: Any) -> Any:
    body = {"reason": "National Day", "to": at(HOUR), **more}
    return api.post(FREEZES, {key: value for key, value in body.items() if value is not None}, caller)


def fix(api: Api, **more: Any) -> Any:
    return api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": "app.restart", **more})


def in_force(api: Api, caller: str = "viewer") -> list[str]:
    items = api.get(FREEZES, caller, open="true").json()["items"]
    return [one["reason"] for one in items if one["is_in_force"]]


def test_what_is_planned_for_many_does_not_start_and_a_single_cure_and_checks_do(api: Api) -> None:
    made = declare(api)
    assert made.status_code == 201, made.text
    assert made.json()["is_in_force"] is True
    refused = fix(api, planned=True)
    assert (refused.status_code, refused.json()["code"]) == (409, "freeze_in_force")
    assert "National Day" in refused.json()["detail"]
    assert fix(api).status_code == 201
    check = {"device": api.fleet.terminal, "action": "agent.echo", "planned": True}
    assert api.post("/api/v1/executions", check).status_code == 201
    api.post(f"{FREEZES}/{made.json()['id']}/end", caller="approver")
    assert fix(api, planned=True).status_code == 201


def test_overlapping_freezes_add_up(api: Api) -> None:
    first, longer = declare(api).json(), declare(api, reason="Double 11", to=at(3 * HOUR)).json()
    detail = fix(api, planned=True).json()["detail"]
    assert longer["to"] in detail
    assert "National Day" in detail and "Double 11" in detail  # noqa: PT018 - one sentence with both
    api.post(f"{FREEZES}/{first['id']}/end", caller="approver")
    assert in_force(api) == ["Double 11"]
    assert fix(api, planned=True).status_code == 409
    api.post(f"{FREEZES}/{longer['id']}/end", caller="approver")
    assert fix(api, planned=True).status_code == 201


def test_one_that_is_planned_ahead_holds_nothing_yet_and_once_ended_never_begins(api: Api) -> None:
    made = declare(api, **{"from": at(HOUR), "to": at(2 * HOUR)}).json()
    assert made["is_in_force"] is False
    assert fix(api, planned=True).status_code == 201
    ended = api.post(f"{FREEZES}/{made['id']}/end", caller="approver").json()
    assert (ended["from"], ended["to"], ended["ended_by"]) == (made["from"], made["from"], "approver")


def test_ending_again_changes_nothing_and_is_no_entry(api: Api) -> None:
    path = f"{FREEZES}/{declare(api).json()['id']}/end"
    first = api.post(path, caller="approver").json()
    assert datetime.fromisoformat(first["to"]) <= utc_now()
    assert api.post(path, caller="operator").json() == first
    with reading(api.engine) as session:
        entries = session.exec(select(AuditEntry).where(col(AuditEntry.action).like("freeze_%"))).all()
    assert [one.action for one in entries] == ["freeze_declared", "freeze_ended"]


def test_one_of_all_tenants_holds_everybody_and_only_the_operator_of_the_installation_ends_it(api: Api) -> None:
    made = declare(api, "operator", reason="Spring Festival", all_tenants=True).json()
    assert in_force(api, "stranger") == ["Spring Festival"]
    body = {"device": "d-two-terminal", "action": "app.restart", "planned": True}
    assert api.post("/api/v1/executions", body, "stranger").json()["code"] == "freeze_in_force"
    path = f"{FREEZES}/{made['id']}/end"
    refused = api.post(path, caller="stranger")
    assert (refused.status_code, refused.json()["code"]) == (403, "freeze_of_all")
    assert in_force(api) == ["Spring Festival"]
    assert api.post(path, caller="operator").status_code == 200
    assert in_force(api, "stranger") == []


@pytest.mark.parametrize("caller", ["approver", "stranger"])
def test_nobody_else_declares_one_of_all_tenants(api: Api, caller: str) -> None:
    """An operator counts in the installation's own tenant only."""
    assert declare(api, caller, all_tenants=True).status_code == 403
    assert in_force(api) == []


def test_one_tenants_freeze_is_no_other_tenants(api: Api) -> None:
    made = declare(api, "stranger").json()
    assert in_force(api) == []
    assert fix(api, planned=True).status_code == 201
    assert api.post(f"{FREEZES}/{made['id']}/end", caller="operator").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": at(-HOUR)},
        {"from": at(2 * HOUR)},
        {"to": at(LONGEST + 2 * HOUR)},
        {"from": at(FURTHEST + HOUR), "to": at(FURTHEST + 2 * HOUR)},
        {"reason": "   "},
    ],
)
def test_what_cannot_be_a_freeze_is_refused(api: Api, wrong: dict[str, str]) -> None:
    refused = declare(api, **wrong)
    assert (refused.status_code, refused.json()["code"]) == (422, "freeze_invalid")


def test_a_reason_holds_no_card_number(api: Api) -> None:
    assert "4111111111111111" not in declare(api, reason="card 4111111111111111 is stuck").text


def test_there_is_an_end_to_freezes(api: Api) -> None:
    for _ in range(MAX_OPEN):
        assert declare(api).status_code == 201
    assert declare(api).json()["code"] == "too_many_freezes"


def test_a_list_is_read_page_by_page(api: Api) -> None:
    ids = [declare(api).json()["id"] for _ in range(3)]
    first = api.get(FREEZES, limit=2).json()
    second = api.get(FREEZES, limit=2, cursor=first["next"]).json()
    assert [one["id"] for one in [*first["items"], *second["items"]]] == ids[::-1]
    assert second["next"] is None


def test_occasions_are_there_to_begin_with(api: Api) -> None:
    items = api.get(f"{FREEZES}/occasions", "viewer").json()["items"]
    (one,) = [item for item in items if item["key"] == "national_day"]
    assert one["name"] == {"zh": "国庆节", "en": "National Day"}
    made = declare(api, **{"from": one["from"], "to": one["to"]})
    assert made.status_code == 201, made.text
