from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.audit.models import AuditEntry
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device, Site
from tests.fleet_server.api import Api, bearer, running_api
from tests.fleet_server.factories import device, site

SITE = "s-one-0001"
NEW = {
    "merchant_id": "898310000000009",
    "merchant_name_zh": "面馆",
    "merchant_name_en": "Noodles",
    "name_zh": "总店",
    "name_en": "Main",
    "timezone": "Asia/Shanghai",
}
PERSONAL = ("小明", "虚构路", "02155550101")


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        yield running


def change(api: Api, site_id: str, caller: str = "support", **values: str) -> tuple[int, str]:
    answer = api.client.patch(f"/api/v1/sites/{site_id}", json=values, headers=bearer(caller))
    return answer.status_code, answer.text


def entries(api: Api, action: str) -> list[AuditEntry]:
    with reading(api.engine) as session:
        return list(session.exec(select(AuditEntry).where(AuditEntry.action == action)))


def test_a_site_says_whom_to_call_to_those_who_may_see_it_and_opens_for_a_technician_on_the_record(api: Api) -> None:
    plain = api.get(f"/api/v1/sites/{SITE}").json()
    assert (plain["contact_name"], plain["phone"], plain["masked"]) == ("王小明", "02155550101", False)
    masked = api.get(f"/api/v1/sites/{SITE}", "technician")
    assert masked.json()["masked"]
    assert not [word for word in PERSONAL if word in masked.text]
    assert api.post(f"/api/v1/sites/{SITE}/open", caller="viewer").status_code == 403
    assert not entries(api, "personal_opened")
    opened = api.post(f"/api/v1/sites/{SITE}/open", caller="technician").json()
    assert (opened["phone"], opened["masked"]) == ("02155550101", False)
    (entry,) = entries(api, "personal_opened")
    assert (entry.actor, entry.target) == ("technician", SITE)


def test_what_is_changed_is_found_and_the_audit_names_fields_only(api: Api) -> None:
    status, text = change(api, SITE, merchant_name_en="Daybreak", phone="13812345678")
    assert status == 200, text
    found = api.get("/api/v1/devices", q="daybreak").json()["items"]
    assert {one["id"] for one in found} == {api.fleet.gateway, api.fleet.terminal}
    assert not api.get("/api/v1/devices", q="dawn").json()["items"]
    assert api.get("/api/v1/devices", q="138-1234-5678").json()["items"]
    (entry,) = entries(api, "site_changed")
    assert entry.data == {"fields": ["merchant_name_en", "phone"]}
    assert change(api, SITE, phone="13812345678")[0] == 200
    assert len(entries(api, "site_changed")) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"phone": "138 **** 5678"},
        {"contact_name": "王**"},
        {"address": "****"},
        {"phone": "call me"},
        {"timezone": "Mars/Base"},
        {"merchant_id": " "},
        {"contact_name": "a\u0007b"},
    ],
)
def test_what_cannot_be_meant_is_refused_without_being_repeated(api: Api, wrong: dict[str, str]) -> None:
    status, text = change(api, SITE, **wrong)
    assert (status, "site_invalid" in text) == (422, True)
    assert not [value for value in wrong.values() if value.strip() and value in text]
    with reading(api.engine) as session:
        assert session.get_one(Site, SITE).phone == "02155550101"


def test_a_device_moves_and_is_found_by_its_new_site(api: Api) -> None:
    made = api.post("/api/v1/sites", NEW).json()
    path = f"/api/v1/devices/{api.fleet.terminal}/site"
    assert api.client.put(path, json={"site": made["id"]}, headers=bearer("operator")).status_code == 200
    assert [one["id"] for one in api.get("/api/v1/devices", q="noodles").json()["items"]] == [api.fleet.terminal]
    assert api.client.put(path, json={"site": "s-no"}, headers=bearer("operator")).status_code == 404
    assert api.client.put(path, json={"site": made["id"]}, headers=bearer("stranger")).status_code == 404


def test_a_file_goes_out_and_comes_back_as_it_was(api: Api) -> None:
    assert change(api, SITE, phone="+86 21 5555 0101", address="=SUM(A1)")[0] == 200
    out = api.post("/api/v1/sites/export").text
    (line,) = csv.DictReader(io.StringIO(out))
    assert (line["phone"], line["address"]) == ("'+86 21 5555 0101", "'=SUM(A1)")
    assert api.post("/api/v1/sites/import", {"csv": out}).json() == {"added": 0, "changed": 0}
    changed = out.replace("虚构", "真实").replace("王小明", "李四")
    assert api.post("/api/v1/sites/import", {"csv": changed}).json() == {"added": 0, "changed": 1}
    with reading(api.engine) as session:
        row = session.get_one(Site, SITE)
        assert (row.contact_name, row.phone, row.address) == ("李四", "+86 21 5555 0101", "=SUM(A1)")
    assert len(entries(api, "sites_exported")) == 1


def test_a_file_is_taken_in_whole_or_not_at_all(api: Api) -> None:
    heading = ",".join(("id", *NEW, "phone"))
    good = "," + ",".join((*NEW.values(), "13812345678"))
    assert api.post("/api/v1/sites/import", {"csv": f"{heading}\n{good}\n{good}\n"}).json()["added"] == 2
    bad = api.post("/api/v1/sites/import", {"csv": f"{heading}\n{good}\ns-none,{good[1:]}\n"})
    assert (bad.status_code, bad.json()["code"]) == (404, "site_not_found")
    strange = api.post("/api/v1/sites/import", {"csv": "id,salary\ns-one-0001,1\n"})
    assert strange.status_code == 422
    assert len(api.get("/api/v1/sites").json()["items"]) == 3


def test_sites_come_in_pages_and_by_words(api: Api) -> None:
    with transaction(api.engine) as session:
        session.add(site("s-two-0002", merchant_name_en="Dusk 100%"))
        session.add(site("s-far-0003", "other", merchant_name_en="Dusk 100%"))
    first = api.get("/api/v1/sites", limit=1).json()
    second = api.get("/api/v1/sites", limit=1, cursor=first["next"]).json()
    assert [first["items"][0]["id"], second["items"][0]["id"], second["next"]] == [SITE, "s-two-0002", None]
    assert [one["id"] for one in api.get("/api/v1/sites", q="100% dusk").json()["items"]] == ["s-two-0002"]


def test_a_number_of_a_sim_card_is_masked_as_a_person_is(api: Api) -> None:
    with transaction(api.engine) as session:
        session.add(device("d-sim-00000001", SITE, sim_phone="13899998888"))
    path = "/api/v1/devices/d-sim-00000001"
    assert api.get(path).json()["sim_phone"] == "13899998888"
    assert api.get(path, "viewer").json()["sim_phone"] == "138 **** 8888"
    assert not api.get("/api/v1/devices", "viewer", q="13899998888").json()["items"]
    with reading(api.engine) as session:
        assert session.get_one(Device, "d-sim-00000001").sim_phone == "13899998888"
