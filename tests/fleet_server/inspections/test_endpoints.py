"""Inspections as a program arranges and reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.audit.models import AuditEntry
from fleet_server.db import reading, transaction
from fleet_server.inspections.models import InspectionRound, InspectionTurn
from fleet_server.inspections.service import MAX_OPEN
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.factories import NOON, TENANT

BODY: dict[str, Any] = {"name": "Each night", "checks": ["agent.echo", "net.path"]}


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as api:
        yield api


def make(api: Api, **more: Any) -> Any:
    answer = api.post("/api/v1/inspections", {**BODY, **more}, "operator")
    assert answer.status_code == 201, answer.text
    return answer.json()


def change(api: Api, made: dict[str, Any], **more: Any) -> Any:
    body = {**BODY, "version": made["version"], **more}
    headers = {"Authorization": "Bearer tm_operator"}
    return api.client.put(f"/api/v1/inspections/{made['id']}", json=body, headers=headers)


def add_turn(api: Api, inspection: str, device: str, date: str, **more: Any) -> None:
    with transaction(api.engine) as session:
        if session.get(InspectionRound, (inspection, date, "Asia/Shanghai")) is None:
            row = InspectionRound(
                inspection_id=inspection,
                local_date=date,
                timezone="Asia/Shanghai",
                tenant_id=TENANT,
                devices=3,
                opens_at=NOON,
                closes_at=NOON,
            )
            session.add(row)
        times = {"due_at": NOON, "closes_at": NOON}
        values: dict[str, Any] = {
            "tenant_id": TENANT,
            "timezone": "Asia/Shanghai",
            "state": "done",
            "results": {},
            **times,
            **more,
        }
        session.add(InspectionTurn(inspection_id=inspection, local_date=date, device_id=device, **values))


def test_inspection_is_made_read_changed_paused_and_ended_and_each_deed_is_audited(api: Api) -> None:
    made = make(api, devices={"kind": "gateway"}, days=[7, 1, 1])
    assert (made["days"], made["at"], made["state"], made["version"]) == ([1, 7], "02:00", "active", 1)
    assert made["devices"]["kind"] == "gateway"
    changed = change(api, made, at="23:30").json()
    assert (changed["at"], changed["version"], changed["devices"]["kind"]) == ("23:30", 2, None)
    for deed, state in (("pause", "paused"), ("resume", "active"), ("end", "ended")):
        answer = api.post(f"/api/v1/inspections/{made['id']}/{deed}", None, "operator")
        assert answer.json()["state"] == state
    assert api.get("/api/v1/inspections").json()["items"] == []
    assert [one["id"] for one in api.get("/api/v1/inspections", ended=True).json()["items"]] == [made["id"]]
    with reading(api.engine) as session:
        deeds = [row.action for row in session.exec(select(AuditEntry)) if row.target == made["id"]]
    assert deeds == [f"inspection_{deed}" for deed in ("made", "changed", "paused", "resumed", "ended")]


def test_whoever_has_read_an_older_version_changes_nothing(api: Api) -> None:
    made = make(api)
    assert change(api, made, at="03:00").status_code == 200
    answer = change(api, made, at="04:00")
    assert (answer.status_code, answer.json()["code"]) == (409, "inspection_changed")
    assert api.get(f"/api/v1/inspections/{made['id']}").json()["at"] == "03:00"


def test_one_that_has_ended_is_neither_changed_nor_resumed(api: Api) -> None:
    made = make(api)
    api.post(f"/api/v1/inspections/{made['id']}/end", None, "operator")
    assert change(api, {**made, "version": 2}).json()["code"] == "inspection_ended"
    answer = api.post(f"/api/v1/inspections/{made['id']}/resume", None, "operator")
    assert answer.json()["code"] == "inspection_ended"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"checks": []}, "checks"),
        ({"checks": ["rm -rf /"]}, "checks"),
        ({"checks": [f"c.n{number}" for number in range(11)]}, "checks"),
        ({"days": [8]}, "days"),
        ({"days": []}, "days"),
        ({"at": "25:00"}, "at"),
        ({"window_min": 0}, "window_min"),
        ({"window_min": 721}, "window_min"),
        ({"name": "  "}, "name"),
        ({"devices": {"ids": []}}, "devices"),
        ({"devices": {"ids": ["d-two-terminal"]}}, "d-two-terminal"),  # of another tenant
    ],
)
def test_what_cannot_be_is_refused_by_name_and_nothing_is_made(api: Api, more: dict[str, Any], named: str) -> None:
    answer = api.post("/api/v1/inspections", {**BODY, **more}, "operator")
    assert answer.status_code == 422
    assert named in answer.json()["detail"]
    assert api.get("/api/v1/inspections").json()["items"] == []


def test_no_more_than_so_many_at_a_time(api: Api) -> None:
    for number in range(MAX_OPEN):
        make(api, name=f"n{number}")
    answer = api.post("/api/v1/inspections", BODY, "operator")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_inspections")


def test_preview_says_whom_it_reaches_and_what_they_have_and_makes_nothing(api: Api) -> None:
    body = {**BODY, "checks": ["agent.echo", "fan.speed"]}
    found = api.post("/api/v1/inspections/preview", body, "operator").json()
    assert (found["devices"], found["looked_at"]) == (2, 2)
    assert found["has"] == {"agent.echo": 2, "fan.speed": 0}
    assert list(found["offered"]) == ["agent.echo", "net.path"]
    assert found["offered"]["net.path"] == {"zh": "网络路径", "en": "Network path"}
    assert [(one["timezone"], one["devices"]) for one in found["zones"]] == [("Asia/Shanghai", 2)]
    assert api.get("/api/v1/inspections").json()["items"] == []


def test_rounds_count_and_turns_are_read_page_by_page(api: Api) -> None:
    made = make(api)
    add_turn(api, made["id"], "d-a", "2026-03-01", outcome="pass")
    add_turn(api, made["id"], "d-b", "2026-03-01", outcome="fail", results={"net.path": {"outcome": "fail"}})
    add_turn(api, made["id"], "d-c", "2026-03-01", state="missed", reason="offline")
    (only,) = api.get(f"/api/v1/inspections/{made['id']}/rounds").json()["items"]
    assert (only["outcomes"], only["missed"], only["devices"]) == ({"pass": 1, "fail": 1}, {"offline": 1}, 3)
    path = f"/api/v1/inspections/{made['id']}/rounds/2026-03-01"
    first = api.get(path, limit=2).json()
    assert [one["device"] for one in first["items"]] == ["d-a", "d-b"]
    assert first["items"][1]["results"][0]["check"] == "net.path"
    assert [one["device"] for one in api.get(path, limit=2, cursor=first["next"]).json()["items"]] == ["d-c"]
    assert [one["device"] for one in api.get(path, result="fail").json()["items"]] == ["d-b"]
    assert [one["device"] for one in api.get(path, result="missed").json()["items"]] == ["d-c"]
    assert api.get(path, result="good").status_code == 422


def test_what_inspections_found_on_a_device_newest_first(api: Api) -> None:
    made = make(api)
    for day in (1, 2, 3):
        at = NOON.replace(day=day)
        add_turn(api, made["id"], api.fleet.terminal, f"2026-03-0{day}", due_at=at, outcome="pass")
    path = f"/api/v1/devices/{api.fleet.terminal}/inspections"
    first = api.get(path, limit=2).json()
    assert [one["date"] for one in first["items"]] == ["2026-03-03", "2026-03-02"]
    assert {one["inspection_name"] for one in first["items"]} == {"Each night"}
    assert [one["date"] for one in api.get(path, cursor=first["next"]).json()["items"]] == ["2026-03-01"]


def test_who_may_only_look_makes_none_and_another_tenant_sees_none(api: Api) -> None:
    made = make(api)
    for caller in ("support", "viewer", "technician", "auditor"):
        assert api.post("/api/v1/inspections", BODY, caller).status_code == 403
        # It names devices that a technician may not see.
        expected = 403 if caller == "technician" else 200
        assert api.get(f"/api/v1/inspections/{made['id']}", caller).status_code == expected
    assert api.get(f"/api/v1/inspections/{made['id']}", "stranger").status_code == 404
    assert api.get("/api/v1/inspections", "stranger").json()["items"] == []
    assert api.post(f"/api/v1/inspections/{made['id']}/end", None, "stranger").status_code == 404
