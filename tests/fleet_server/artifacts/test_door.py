"""Devices at the door of software: their own tenant's, in ranges, and nothing for anybody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.artifacts.store import Store, hashed_name
from fleet_server.db import transaction
from fleet_server.devices.models import Device as DeviceRow
from fleet_server.enrollment.models import IssuedCertificate
from fleet_server.kit.times import utc_now
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.factories import settings
from tests.support.enrolling import Device, prepare_installation
from tests.support.issuer import local_issuer
from tests.support.signing_requests import new_key
from tests.support.software import APP, TENANT, Software, pass_of

CONTENT = bytes(range(256)) * 8


@dataclass
class Door:
    api: Api
    software: Software
    link: str
    device: Device
    chain: bytes

    def get(self, path: str, **headers: str) -> Any:
        shown = {"Authorization": self.shown(), **headers}
        return self.api.client.get(f"/artifacts/v1/{path}", headers=shown)

    def shown(self, **changed: Any) -> str:
        said = {"link": self.link, "key": self.device.key, "chain_pem": self.chain, "now": utc_now(), **changed}
        return pass_of(**said)

    @property
    def target(self) -> str:
        return "targets/" + hashed_name(APP, self.software.ceremony.targets().signed.targets[APP].hashes["sha256"])


@pytest.fixture
def door(engine: Engine, tmp_path: Path) -> Iterator[Door]:
    made = settings(tmp_path)
    prepare_installation(made)
    issuer = local_issuer(made, utc_now)
    software = Software(tmp_path / "software", utc_now())
    software.store = Store.of(made, TENANT)
    software.release(CONTENT)
    with running_api(engine, tmp_path, issuer=issuer) as api:
        body = {"serial_number": "ES0000002", "model": "A920", "terminal_class": "e_sign", "site": api.fleet.site}
        code = api.post("/api/v1/enrolments", body, "operator").json()["code"]
        device = Device(api.client)
        enrolled = device.enrol(code).json()
        yield Door(api, software, enrolled["enrolment"]["link"], device, enrolled["certificate"].encode())
    issuer.close()


def refused(answer: Any, code: str, status: int) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_device_is_given_the_metadata_and_files_of_its_tenant(door: Door) -> None:
    assert b'"timestamp"' in door.get("metadata/timestamp.json").content
    assert door.get("metadata/1.root.json").content == door.software.ceremony.roots()[0]
    assert door.get(door.target).content == CONTENT


def test_a_file_is_given_in_ranges(door: Door) -> None:
    answer = door.get(door.target, Range="bytes=1000-1099")
    assert (answer.status_code, answer.content) == (206, CONTENT[1000:1100])
    assert answer.headers["Content-Range"] == f"bytes 1000-1099/{len(CONTENT)}"
    assert door.get(door.target, Range="bytes=2000-").content == CONTENT[2000:]
    assert door.get(door.target, Range="bytes=999999-").status_code == 416


@pytest.mark.parametrize(
    "path",
    [
        "metadata/2.root.json",
        "metadata/secret.json",
        "metadata/..%2f..%2fserver%2ffleet.toml",
        "targets/%2e%2e/metadata/timestamp.json",
        "targets/..%2f..%2f..%2fserver%2fkeys%2fca.crt",
        "targets//etc/passwd",
        f"targets/{APP}",
    ],
)
def test_nothing_else_is_given(door: Door, path: str) -> None:
    assert door.get(path).status_code == 404


def test_who_shows_no_pass_or_another_ones_is_given_nothing(door: Door) -> None:
    bare = door.api.client.get("/artifacts/v1/metadata/timestamp.json")
    refused(bare, "device_unknown", 403)
    stranger = new_key()
    for shown in (
        "Bearer x",
        "Device !!!",
        "Device " + "A" * 4000,
        door.shown(key=stranger),
        door.shown(link="d-somebody-else"),
        door.shown(now=utc_now() - timedelta(hours=2)),
        door.shown(now=utc_now() + timedelta(hours=2)),
    ):
        refused(door.get("metadata/timestamp.json", Authorization=shown), "device_unknown", 403)


def test_a_certificate_of_another_installation_opens_nothing(door: Door, tmp_path: Path) -> None:
    elsewhere = settings(tmp_path / "elsewhere")
    prepare_installation(elsewhere)
    issuer = local_issuer(elsewhere, utc_now)
    foreign = issuer.issue_link(door.link, utc_now())
    issuer.close()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(foreign.key_pem, None)
    shown = door.shown(key=key, chain_pem=foreign.certificate_pem)
    refused(door.get("metadata/timestamp.json", Authorization=shown), "device_unknown", 403)


def test_a_device_that_was_taken_out_of_service_is_given_nothing(door: Door) -> None:
    with transaction(door.api.engine) as session:
        row = session.get(DeviceRow, door.link)
        assert row is not None
        row.retired_at = utc_now()
    refused(door.get("metadata/timestamp.json"), "device_unknown", 403)


def test_a_certificate_that_was_not_handed_out_opens_nothing(door: Door) -> None:
    with transaction(door.api.engine) as session:
        for row in session.exec(select(IssuedCertificate)).all():
            session.delete(row)
    refused(door.get("metadata/timestamp.json"), "device_unknown", 403)


def test_a_device_of_another_tenant_is_given_its_own_or_nothing(door: Door) -> None:
    with transaction(door.api.engine) as session:
        row = session.get(DeviceRow, door.link)
        assert row is not None
        row.tenant_id = "north"
    assert door.get("metadata/timestamp.json").status_code == 404
