from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fleet_server.db import transaction
from fleet_server.faults.models import Fault
from fleet_server.kit.times import to_ms
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.factories import NOON, TENANT


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        with transaction(engine) as session:
            for number, is_open in enumerate((True, False)):
                row = Fault(
                    id=f"f-{number}",
                    tenant_id=TENANT,
                    device_id=running.fleet.terminal,
                    code="escpos.PAPER_OUT" if is_open else "agent.unheard_of",
                    severity="major",
                    raised_ms=to_ms(NOON) + number,
                    raised_at=NOON,
                    last_seen_at=NOON,
                    is_open=is_open,
                    evidence="<b>paper</b>",
                )
                session.add(row)
        yield running


def test_device_shows_who_it_is_where_it_stands_and_what_it_can_do(api: Api) -> None:
    found = api.get(f"/api/v1/devices/{api.fleet.terminal}").json()
    assert (found["id"], found["attached_to"], found["line"]) == (api.fleet.terminal, api.fleet.gateway, "zvt0")
    assert found["site"]["merchant_name"] == {"zh": "晨光便利店", "en": "Dawn Convenience"}
    assert found["presence"] == "online"
    capabilities = found["capabilities"]
    assert [one["name"] for one in capabilities["checks"]] == ["agent.echo", "net.path"]
    assert [one["name"] for one in capabilities["tests"]] == ["printer.print_test"]
    assert [(one["name"], one["class"]) for one in capabilities["fixes"]] == [("app.restart", 1), ("app.install", 2)]
    count = capabilities["checks"][1]["params"][0]
    assert (count["name"], count["type"], count["unit"], count["minimum"]) == ("count", "integer", "tries", 1)
    gateway = api.get(f"/api/v1/devices/{api.fleet.gateway}").json()
    assert gateway["attached_to"] is None
    assert [one["id"] for one in gateway["attached"]] == [api.fleet.terminal]


def test_open_faults_come_with_their_meaning_and_owner(api: Api) -> None:
    (fault,) = api.get(f"/api/v1/devices/{api.fleet.terminal}").json()["faults"]
    assert (fault["code"], fault["severity"], fault["raised_at"]) == (
        "escpos.PAPER_OUT",
        "major",
        "2026-03-02T12:00:00.000Z",
    )
    everything = api.get("/api/v1/faults", device=api.fleet.terminal).json()["items"]
    assert len(everything) == 2
    unknown = next(one for one in everything if one["code"] == "agent.unheard_of")
    assert (unknown["title"], unknown["owner"]) == (None, None)
    assert [one["id"] for one in api.get("/api/v1/faults", open="false").json()["items"]] == [unknown["id"]]
    assert api.get("/api/v1/faults", code="agent.unheard_of", open="true").json()["items"] == []
    assert len(api.get("/api/v1/faults", limit=1).json()["items"]) == 1


def test_fleet_is_filtered_by_an_open_fault_and_by_words(api: Api) -> None:
    def ids(**filters: str) -> list[str]:
        return [one["id"] for one in api.get("/api/v1/devices", **filters).json()["items"]]

    assert ids(fault="escpos.PAPER_OUT") == [api.fleet.terminal]
    assert ids(fault="agent.unheard_of") == []
    assert ids(q="晨光") == [api.fleet.gateway, api.fleet.terminal]
    assert ids(q="GATEWAY") == [api.fleet.gateway]
    assert ids(presence="offline") == []
    assert ids(site=api.fleet.site, condition="unknown") == [api.fleet.gateway, api.fleet.terminal]
    assert api.get("/api/v1/devices", presence="sleeping").status_code == 422
    first = api.get("/api/v1/devices", limit=1).json()
    assert api.get("/api/v1/devices", limit=1, cursor=first["next"]).json()["next"] is None
