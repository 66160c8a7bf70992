"""Devices at the door: the way in with a code, and each attack on it that must fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from sqlalchemy import Engine, update
from sqlmodel import select

from fleet_server.auth.roles import Role
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device as DeviceRow
from fleet_server.enrollment import door
from fleet_server.enrollment.codes import PENDING_LIFE
from fleet_server.enrollment.models import Enrolment, IssuedCertificate
from fleet_server.tenants.repository import ensure_tenant
from fleet_server.tenants.service import TenantService
from protocol.enrolment import fingerprint
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.factories import TENANT, actor, settings
from tests.support.enrolling import Device, prepare_installation
from tests.support.issuer import local_issuer
from tests.support.signing_requests import new_key, request_of

SERIAL, MODEL = "ES0000002", "A920"


@dataclass
class Door:
    api: Api
    now: list[datetime]

    def code(self, caller: str = "operator", **more: Any) -> str:
        return str(self.made(caller, **more)["code"])

    def made(self, caller: str = "operator", **more: Any) -> dict[str, Any]:
        body = {"serial_number": SERIAL, "model": MODEL, "terminal_class": "e_sign", "site": self.api.fleet.site}
        answer = self.api.post("/api/v1/enrolments", body | more, caller)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def device(self, serial: str = SERIAL, model: str = MODEL) -> Device:
        return Device(self.api.client, serial, model)

    def rows(self, kind: Any) -> list[Any]:
        with reading(self.api.engine) as session:
            return list(session.exec(select(kind)).all())


@pytest.fixture
def at(engine: Engine, tmp_path: Path) -> Iterator[Door]:
    made = settings(tmp_path)
    prepare_installation(made)
    now = [datetime.now(UTC)]
    issuer = local_issuer(made, lambda: now[0])
    with running_api(engine, tmp_path, issuer=issuer) as api:
        yield Door(api, now)
    issuer.close()


def with_serial(at: Door) -> list[DeviceRow]:
    return [one for one in at.rows(DeviceRow) if one.serial_number == SERIAL]


def refused(answer: Any, code: str, status: int = 403) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_code_makes_one_device_with_a_key_that_stayed_with_it(at: Door) -> None:
    made = at.made()
    answer = at.device().enrol(made["code"])
    assert answer.status_code == 200, answer.text
    enrolled = answer.json()
    link = enrolled["enrolment"]["link"]
    leaf = x509.load_pem_x509_certificates(enrolled["certificate"].encode())[0]
    assert [one.value for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [link]
    assert link == made["enrolment"]["device"]
    assert enrolled["enrolment"]["serial_number"] == SERIAL
    assert enrolled["enrolment"]["server_url"] == "http://127.0.0.1:1"
    (row,) = [one for one in at.rows(DeviceRow) if one.serial_number == SERIAL]
    assert (row.id, row.link_id, row.tenant_id, row.site_id) == (link, link, TENANT, at.api.fleet.site)
    assert [one.serial for one in at.rows(IssuedCertificate)] == [f"{leaf.serial_number:x}"]
    listed = at.api.get("/api/v1/enrolments", "operator", state="done").json()["items"]
    assert [one["serial_number"] for one in listed] == [SERIAL]
    assert "PRIVATE" not in answer.text


def test_the_code_names_the_authority_that_the_door_shows(at: Door) -> None:
    shown = at.api.client.get("/enrol/v1/authority")
    der = x509.load_pem_x509_certificate(shown.content)
    from cryptography.hazmat.primitives.serialization import Encoding

    assert at.code().replace("-", "").endswith(fingerprint(der.public_bytes(Encoding.DER)))


def test_only_the_hash_of_a_code_is_kept(at: Door) -> None:
    code = at.code()
    (row,) = at.rows(Enrolment)
    assert code.replace("-", "")[:16] not in str(row.model_dump())


def test_a_device_that_lost_the_answer_gets_the_same_again(at: Door) -> None:
    device, code = at.device(), at.code()
    first, second = device.enrol(code), device.enrol(code)
    assert first.json() == second.json()
    assert len(at.rows(IssuedCertificate)) == 1


def test_a_code_is_used_once(at: Door) -> None:
    code = at.code()
    assert at.device().enrol(code).status_code == 200
    refused(at.device().enrol(code), "enrolment_code_used", 409)


def test_of_two_that_come_at_once_one_wins(at: Door) -> None:
    code, answers = at.code(), []
    begin = threading.Barrier(2)

    def try_it() -> None:
        device = at.device()
        body = device.request(code)
        begin.wait()
        answers.append(device.client.post("/enrol/v1/requests", json=body))

    threads = [threading.Thread(target=try_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.status_code for one in answers) == [200, 409]
    assert len(with_serial(at)) == 1


def test_a_code_ends(at: Door) -> None:
    code = at.code(hours=1)
    with transaction(at.api.engine) as session:
        session.execute(update(Enrolment).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    refused(at.device().enrol(code), "enrolment_code_expired")


def test_a_code_is_for_one_serial_number_and_one_model_and_for_few_tries(at: Door) -> None:
    code = at.code()
    for serial, model in (("ES0000003", MODEL), (SERIAL, "A80"), ("es0000002", MODEL), (SERIAL + " ", MODEL)):
        refused(at.device(serial, model).enrol(code), "enrolment_code_for_another")
    refused(at.device("ES0000009").enrol(code), "enrolment_code_for_another")
    # A stolen code tells nothing about which device it is for.
    refused(at.device().enrol(code), "enrolment_code_unknown")
    assert with_serial(at) == []


def test_a_code_is_for_one_tenant(at: Door) -> None:
    code = at.code("stranger", site="s-two-0001")
    assert at.device().enrol(code).json()["enrolment"]["tenant"] == "other"
    assert at.api.get("/api/v1/enrolments", "operator").json()["items"] == []
    body = {"serial_number": "X1", "model": MODEL, "terminal_class": "e_sign", "site": "s-two-0001"}
    refused(at.api.post("/api/v1/enrolments", body, "operator"), "site_unknown", 422)


def test_a_code_of_a_suspended_tenant_is_as_one_that_never_was(at: Door) -> None:
    code = at.code("stranger", site="s-two-0001")
    with transaction(at.api.engine) as session:
        ensure_tenant(session, "other", datetime.now(UTC))
        TenantService(session, actor(Role.OPERATOR), datetime.now(UTC)).suspend("other", "the bill")
    refused(at.device().enrol(code), "enrolment_code_unknown")
    assert with_serial(at) == []


def test_whoever_guesses_is_soon_not_answered_any_more(at: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet_server.enrollment.door.time.monotonic", lambda: 1000.0)
    code = at.code()
    for _ in range(door.GUESSES):
        refused(at.device().enrol("0" * 40), "enrolment_code_unknown")
    answer = at.device().enrol("0" * 40)
    refused(answer, "too_many_tries", 429)
    assert int(answer.headers["Retry-After"]) > 0
    # Not even with the right one: else it could be told from the wrong ones.
    refused(at.device().enrol(code), "too_many_tries", 429)
    monkeypatch.setattr("fleet_server.enrollment.door.time.monotonic", lambda: 1000.0 + 60.0)
    assert at.device().enrol(code).status_code == 200


def test_a_withdrawn_code_is_as_one_that_never_was(at: Door) -> None:
    made = at.made()
    assert (
        at.api.post(f"/api/v1/enrolments/{made['enrolment']['id']}/withdraw", None, "operator").json()["state"]
        == "withdrawn"
    )
    refused(at.device().enrol(made["code"]), "enrolment_code_unknown")


def test_a_request_that_was_seen_elsewhere_is_worth_nothing(at: Door) -> None:
    mine, seen = at.device(), at.device("ES0000003")
    first = at.code()
    body = mine.request(first)
    assert at.api.client.post("/enrol/v1/requests", json=body).status_code == 200
    other = at.code(serial_number="ES0000003")
    # With another code the proof does not fit, and the key is known.
    replayed = body | {"secret": seen.request(other)["secret"], "serial_number": "ES0000003"}
    refused(at.api.client.post("/enrol/v1/requests", json=replayed), "proof_invalid")
    refused(Device(at.api.client, "ES0000003", MODEL, mine.key).enrol(other), "key_taken", 409)
    assert seen.enrol(other).status_code == 200


def test_a_proof_of_another_key_is_refused(at: Door) -> None:
    code = at.code()
    refused(at.device().enrol(code, csr=request_of(new_key())), "proof_invalid")
    assert with_serial(at) == [], "nothing was made"


@pytest.mark.parametrize(
    "csr",
    [
        lambda key: request_of(key, "svc-fleet-1"),
        lambda key: request_of(key, "d-one-gateway"),
        lambda key: request_of(key, SERIAL),
        lambda key: request_of(key, extension=x509.BasicConstraints(ca=True, path_length=None)),
        lambda key: request_of(key, extension=x509.SubjectAlternativeName([x509.DNSName("x")])),
    ],
)
def test_a_request_for_more_than_a_key_is_refused(at: Door, csr: Any) -> None:
    device, code = at.device(), at.code()
    refused(device.enrol(code, csr=csr(device.key)), "csr_refused", 422)
    assert device.enrol(code).status_code == 200


def test_a_device_without_a_place_waits_for_a_person(at: Door) -> None:
    made = at.made(site="")
    device = at.device()
    assert device.enrol(made["code"]).status_code == 202
    refused(at.device().enrol(made["code"]), "enrolment_code_used", 409)
    (waiting,) = at.api.get("/api/v1/enrolments", "operator", state="pending").json()["items"]
    place = f"/api/v1/enrolments/{waiting['id']}/approve"
    refused(at.api.post(place, {}, "operator"), "site_unknown", 422)
    refused(at.api.post(place, {"site": "s-two-0001"}, "operator"), "site_unknown", 422)
    refused(at.api.post(place, {"site": at.api.fleet.site}, "support"), "role_too_low")
    assert at.api.post(place, {"site": at.api.fleet.site}, "operator").json()["state"] == "approved"
    assert device.enrol(made["code"]).status_code == 200
    refused(at.api.post(place, {"site": at.api.fleet.site}, "operator"), "enrolment_not_waiting", 409)


def test_one_that_a_person_turned_away_stays_outside(at: Door) -> None:
    made = at.made(needs_approval=True)
    device = at.device()
    assert device.enrol(made["code"]).status_code == 202
    assert at.api.post(f"/api/v1/enrolments/{made['enrolment']['id']}/refuse", None, "operator").status_code == 200
    refused(device.enrol(made["code"]), "enrolment_refused")
    assert [one for one in at.rows(DeviceRow) if one.serial_number == SERIAL] == []


def test_a_pallet_is_all_or_none(at: Door) -> None:
    text = "serial_number,model,terminal_class\nA1,A920,e_sign\nA2,A920,e_sign\n"
    made = at.api.post("/api/v1/enrolments/pallet", {"csv": text}, "operator")
    assert [one["enrolment"]["serial_number"] for one in made.json()["items"]] == ["A1", "A2"]
    assert len({one["code"] for one in made.json()["items"]}) == 2
    for bad in ("x", text + "A2,A920,e_sign\n", text + "A3,A920\n", text + "A3,A920,tv\n", text.replace("A1", "")):
        refused(at.api.post("/api/v1/enrolments/pallet", {"csv": bad}, "operator"), "pallet_invalid", 422)
    assert len(at.rows(Enrolment)) == 2


def test_a_key_is_renewed_by_the_key_and_by_nothing_else(at: Door) -> None:
    device = at.device()
    link = device.enrol(at.code()).json()["enrolment"]["link"]
    refused(at.device().renew(link, new_key()), "proof_invalid")
    fresh = new_key()
    renewed = device.renew(link, fresh)
    assert renewed.status_code == 200, renewed.text
    leaf = x509.load_pem_x509_certificates(renewed.json()["certificate"].encode())[0]
    assert leaf.public_key() == fresh.public_key()
    assert len(at.rows(IssuedCertificate)) == 2
    refused(device.renew(link, new_key()), "proof_invalid")
    refused(device.renew("d-one-gateway", new_key()), "name_not_enrollable", 422)


def asked_long_ago(at: Door) -> None:
    with transaction(at.api.engine) as session:
        session.execute(update(Enrolment).values(asked_at=datetime.now(UTC) - PENDING_LIFE))


def test_whom_nobody_let_in_for_long_is_turned_away(at: Door) -> None:
    made = at.made(needs_approval=True)
    device = at.device()
    assert device.enrol(made["code"]).status_code == 202
    asked_long_ago(at)
    refused(device.enrol(made["code"]), "enrolment_refused")


def test_a_key_of_long_ago_takes_no_identity_with_the_code_that_it_once_used(at: Door) -> None:
    """Whoever has an old copy of the device's files and the code's slip of paper."""
    thief, code = at.device(), at.code()
    link = thief.enrol(code).json()["enrolment"]["link"]
    device = Device(at.api.client, SERIAL, MODEL, thief.key)
    for _ in range(2):
        fresh = new_key()
        assert device.renew(link, fresh).status_code == 200
        device.key = fresh
    refused(thief.enrol(code), "name_taken", 409)
    assert device.renew(link, new_key()).status_code == 200


def retire(at: Door, link: str, reason: str = "stolen", caller: str = "operator") -> Any:
    return at.api.post(f"/api/v1/devices/{link}/retirement", {"reason": reason}, caller)


def test_one_that_is_out_of_service_renews_nothing_and_its_id_never_comes_again(at: Door) -> None:
    device = at.device()
    link = device.enrol(at.code()).json()["enrolment"]["link"]
    assert retire(at, link).json()["enforced_at"] is None
    refused(device.renew(link, new_key()), "name_retired")
    again = at.made()
    assert again["enrolment"]["device"] != link
    assert at.device().enrol(again["code"]).json()["enrolment"]["link"] != link
    refused(at.api.get(f"/api/v1/devices/{link}", "operator"), "device_not_found", 404)


def test_an_open_code_ends_with_its_device(at: Door) -> None:
    device = at.device()
    link = device.enrol(at.code()).json()["enrolment"]["link"]
    # After a factory reset: the same device, another key.
    spare = at.code()
    retire(at, link)
    refused(at.device().enrol(spare), "enrolment_code_unknown")
    assert [one.id for one in with_serial(at)] == [link], "no second one was made"


def test_a_reset_device_gets_another_key_for_the_same_id(at: Door) -> None:
    link = at.device().enrol(at.code()).json()["enrolment"]["link"]
    again = at.device().enrol(at.code())
    assert again.json()["enrolment"]["link"] == link
    assert len(with_serial(at)) == 1


def test_taking_out_of_service_is_for_those_who_may_and_within_the_tenant(at: Door) -> None:
    refused(retire(at, at.api.fleet.gateway, caller="viewer"), "role_too_low")
    refused(retire(at, at.api.fleet.gateway, caller="support"), "role_too_low")
    refused(retire(at, at.api.fleet.gateway, caller="stranger"), "device_not_found", 404)
    assert retire(at, at.api.fleet.gateway, "nonsense").status_code == 422


def test_what_hangs_on_a_gateway_goes_with_it(at: Door) -> None:
    assert retire(at, at.api.fleet.gateway, "swapped").status_code == 200
    gone = {one.id for one in at.rows(DeviceRow) if one.retired_at is not None}
    assert gone == {at.api.fleet.gateway, at.api.fleet.terminal}
    again = retire(at, at.api.fleet.gateway, "retired").json()
    assert again["reason"] == "swapped"


def test_an_attached_device_goes_alone_and_gets_no_code(at: Door) -> None:
    serial = next(one.serial_number for one in at.rows(DeviceRow) if one.id == at.api.fleet.terminal)
    body = {"serial_number": serial, "model": "M", "terminal_class": "e_sign"}
    refused(at.api.post("/api/v1/enrolments", body, "operator"), "serial_in_service", 409)
    done = retire(at, at.api.fleet.terminal, "swapped").json()
    assert done["enforced_at"] is not None
    assert [one.id for one in at.rows(DeviceRow) if one.retired_at is not None] == [at.api.fleet.terminal]


@pytest.mark.parametrize("body", [{}, {"secret": "x"}, {"more": "1"}, {"secret": "0" * 16, "csr": "x" * 9999}])
def test_whatever_is_not_understood_is_refused(at: Door, body: dict[str, str]) -> None:
    for path in ("requests", "renewals"):
        refused(at.api.client.post(f"/enrol/v1/{path}", json=body), "csr_refused", 422)
    assert with_serial(at) == []
