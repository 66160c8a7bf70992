"""What the issuer refuses, whoever asks: each attack is one that a taken-over fleet server or a device could try."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_server.enrollment.authority import ISSUING_LIFE, TAKE_OVER_LIFE
from fleet_server.enrollment.ends import list_ends_at
from fleet_server.enrollment.errors import AuthorityLapsed, NameNotEnrollable
from fleet_server.issuer import service
from fleet_server.issuer.client import IssuerClient
from fleet_server.issuer.errors import (
    CapReached,
    KeyTaken,
    NameRetired,
    NameTaken,
    ProofInvalid,
    RequestRefused,
    TooLongAsleep,
)
from fleet_server.issuer.folder import AuthorityPlaces, ensure_authority
from fleet_server.issuer.service import GRACE, Issuer
from protocol.enrolment import MAX_PEM
from tests.support.issuer import LocalChannel
from tests.support.signing_requests import new_key, renewal_proof, request_of

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
LINK, OTHER = "d-0123456789abcdef", "d-fedcba9876543210"


@dataclass
class Office:
    """An issuer, a client of it, and the clock on its wall."""

    places: AuthorityPlaces
    now: datetime = NOW
    client: IssuerClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = IssuerClient(LocalChannel(self.places, lambda: self.now), self.places.chain.read_bytes)

    def lists(self) -> dict[str, set[int]]:
        pem = self.client.revocation_list((), self.now)
        parts = [x509.load_pem_x509_crl(b"-----BEGIN" + one) for one in pem.split(b"-----BEGIN")[1:]]
        return {one.issuer.rfc4514_string(): {entry.serial_number for entry in one} for one in parts}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    places = AuthorityPlaces(tmp_path / "keys", tmp_path / "issuer")
    places.keys_dir.mkdir()
    ensure_authority(places, NOW)
    made = Office(places)
    yield made
    made.client.close()


def test_a_device_gets_its_name_and_nothing_else(office: Office) -> None:
    made = office.client.enrol(LINK, request_of(new_key()))
    leaf, issuing = x509.load_pem_x509_certificates(made.certificate_pem)
    root = x509.load_pem_x509_certificate(office.places.root_certificate.read_bytes())
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    assert [one.value for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [LINK]
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


WEAK: dict[str, Callable[[], str]] = {
    "another name": lambda: request_of(new_key(), OTHER),
    "a service's name": lambda: request_of(new_key(), "svc-fleet-1"),
    "two names": lambda: request_of(new_key(), LINK, OTHER),
    "other names beside": lambda: request_of(
        new_key(), extension=x509.SubjectAlternativeName([x509.DNSName("console.example")])
    ),
    "an authority": lambda: request_of(new_key(), extension=x509.BasicConstraints(ca=True, path_length=None)),
    "a server's usage": lambda: request_of(
        new_key(), extension=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    ),
    "a short RSA key": lambda: request_of(rsa.generate_private_key(65537, 1024)),  # noqa: S505  # weak on purpose
    "a long RSA key": lambda: request_of(rsa.generate_private_key(65537, 2048)),
    "another curve": lambda: request_of(ec.generate_private_key(ec.SECP384R1())),
    "a small curve": lambda: request_of(ec.generate_private_key(ec.SECP192R1())),
    "an attribute": lambda: request_of(new_key(), challenge=b"word"),
    "more than there is room for": lambda: request_of(new_key()) + "\n" * MAX_PEM,
    "another hash": lambda: request_of(new_key(), algorithm=hashes.SHA512()),
    "a request that somebody altered": lambda: _altered(request_of(new_key())),
    "no request": lambda: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    "nothing": lambda: "x",
}


def _altered(pem: str) -> str:
    lines = pem.splitlines()
    # In the middle of the key.
    lines[2] = lines[2][:10] + ("A" if lines[2][10] != "A" else "B") + lines[2][11:]
    return "\n".join(lines)


@pytest.mark.parametrize("name", list(WEAK))
def test_a_request_for_anything_else_is_refused(office: Office, name: str) -> None:
    with pytest.raises(RequestRefused):
        office.client.enrol(LINK, WEAK[name]())
    office.client.enrol(LINK, request_of(new_key()))


@pytest.mark.parametrize("name", ["svc-fleet-1", "svc-anything", "+", "fleet/v1", "SHORT", "d-AAAAAAAAAAAAAAAA"])
def test_names_of_services_and_names_that_match_others_are_never_certified(office: Office, name: str) -> None:
    with pytest.raises(NameNotEnrollable):
        office.client.enrol(name, request_of(new_key()))


def test_a_name_is_certified_for_the_first_time_once(office: Office) -> None:
    office.client.enrol(LINK, request_of(new_key()))
    with pytest.raises(NameTaken):
        office.client.enrol(LINK, request_of(new_key()))


def test_a_lost_answer_is_given_again_to_the_same_key(office: Office) -> None:
    csr = request_of(new_key())
    assert office.client.enrol(LINK, csr) == office.client.enrol(LINK, csr)


def test_a_request_that_was_seen_elsewhere_makes_no_second_device(office: Office) -> None:
    csr = request_of(new_key())
    office.client.enrol(LINK, csr)
    with pytest.raises(KeyTaken):
        office.client.enrol(OTHER, csr)


def test_a_renewal_needs_the_key_of_now(office: Office) -> None:
    first, second, third = new_key(), new_key(), new_key()
    office.client.enrol(LINK, request_of(first))
    csr = request_of(second)
    with pytest.raises(ProofInvalid):
        office.client.renew(LINK, csr, renewal_proof(new_key(), LINK, csr))
    proof = renewal_proof(first, LINK, csr)
    renewed = office.client.renew(LINK, csr, proof)
    assert office.client.renew(LINK, csr, proof) == renewed, "an answer that was lost is given again"
    late = request_of(third)
    with pytest.raises(ProofInvalid):
        office.client.renew(LINK, late, renewal_proof(first, LINK, late))
    assert office.client.renew(LINK, late, renewal_proof(second, LINK, late)).serial != renewed.serial


def test_a_proof_is_for_one_request_and_one_name(office: Office) -> None:
    mine, theirs = new_key(), new_key()
    office.client.enrol(LINK, request_of(mine))
    office.client.enrol(OTHER, request_of(theirs))
    csr, another = request_of(new_key()), request_of(new_key())
    with pytest.raises(ProofInvalid):
        office.client.renew(LINK, another, renewal_proof(mine, LINK, csr))
    with pytest.raises(ProofInvalid):
        office.client.renew(OTHER, csr, renewal_proof(mine, OTHER, csr))


def test_one_that_slept_past_its_end_renews_within_the_grace_and_later_with_a_persons_word(office: Office) -> None:
    first, second, third = new_key(), new_key(), new_key()
    made = office.client.enrol(LINK, request_of(first))
    office.now = made.not_after + GRACE - timedelta(minutes=1)
    csr = request_of(second)
    made = office.client.renew(LINK, csr, renewal_proof(first, LINK, csr))
    # The issuing one has a year: made anew meanwhile, so only the word is asked about here.
    office.now = made.not_after + GRACE + timedelta(days=1)
    late = request_of(third)
    proof = renewal_proof(second, LINK, late)
    with pytest.raises(TooLongAsleep):
        office.client.renew(LINK, late, proof)
    assert office.client.renew(LINK, late, proof, approved_by="lin").serial != made.serial


def test_one_that_is_out_of_service_gets_nothing_any_more(office: Office) -> None:
    key = new_key()
    made = office.client.enrol(LINK, request_of(key))
    assert office.client.retire(LINK, "stolen", {}) == [made.serial]
    csr = request_of(new_key())
    with pytest.raises(NameRetired):
        office.client.renew(LINK, csr, renewal_proof(key, LINK, csr), approved_by="lin")
    with pytest.raises(NameRetired):
        office.client.replace(LINK, csr, "lin")
    with pytest.raises(NameTaken):
        office.client.enrol(LINK, csr)
    with pytest.raises(NameTaken):
        office.client.enrol(LINK, request_of(key))


def test_revoked_ones_are_listed_until_they_end_by_themselves(office: Office) -> None:
    made = office.client.enrol(LINK, request_of(new_key()))
    office.client.retire(LINK, "stolen", {"abc": NOW + timedelta(days=9)})
    assert list(office.lists().values()) == [{int(made.serial, 16), 0xABC}]
    office.now = made.not_after + timedelta(days=1)
    assert list(office.lists().values()) == [set()]


def test_a_name_that_was_never_heard_of_can_be_retired_and_then_not_be_enrolled(office: Office) -> None:
    office.client.retire(LINK, "swapped", {"abc": NOW + timedelta(days=9)})
    with pytest.raises(NameTaken):
        office.client.enrol(LINK, request_of(new_key()))


def test_a_session_is_taken_over_for_minutes_and_only_of_one_that_is_out_of_service(office: Office) -> None:
    office.client.enrol(LINK, request_of(new_key()))
    for name in (LINK, OTHER, "svc-fleet-1"):
        with pytest.raises(NameTaken):
            office.client.take_over(name)
    office.client.retire(LINK, "stolen", {})
    made = office.client.take_over(LINK)
    assert made.not_after <= NOW + TAKE_OVER_LIFE
    assert int(made.serial, 16) not in set().union(*office.lists().values())


def test_keys_are_replaced_on_a_persons_word_so_many_an_hour(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "REPLACED_AN_HOUR", 2)
    office.client.enrol(LINK, request_of(new_key()))
    for _ in range(2):
        office.client.replace(LINK, request_of(new_key()), "lin")
    with pytest.raises(CapReached):
        office.client.replace(LINK, request_of(new_key()), "lin")
    office.now += timedelta(hours=2)
    office.client.replace(LINK, request_of(new_key()), "lin")


def test_the_book_outlives_the_process(office: Office) -> None:
    office.client.enrol(LINK, request_of(new_key()))
    office.client.retire(LINK, "stolen", {})
    office.client.close()
    with pytest.raises(NameTaken):
        office.client.enrol(LINK, request_of(new_key()))
    assert len(set().union(*office.lists().values())) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b'{"ask": "sign"}',
        b'{"ask": "describe", "more": 1}',
        json.dumps({"ask": "enrol", "name": LINK, "csr": "x" * 5000}).encode(),
        json.dumps({"ask": "replace", "name": LINK, "csr": "x", "approved_by": ""}).encode(),
        json.dumps({"ask": "lists", "serials": ["-1"]}).encode(),
    ],
)
def test_whatever_is_not_understood_is_refused_in_one_answer(office: Office, line: bytes) -> None:
    issuer = Issuer(office.places, lambda: NOW)
    try:
        assert json.loads(issuer.answer(line))["code"] == "csr_refused"
    finally:
        issuer.close()


def test_a_list_lives_long_after_it_is_renewed(office: Office) -> None:
    ends = list_ends_at(office.client.revocation_list((), NOW))
    assert ends is not None
    assert ends > NOW + timedelta(days=80)


def test_a_lapsed_issuing_certificate_is_said_in_words_and_the_issuer_lives(office: Office) -> None:
    key = new_key()
    office.client.enrol(LINK, request_of(key))
    office.now = NOW + ISSUING_LIFE
    with pytest.raises(AuthorityLapsed, match="the issuing certificate ended"):
        office.client.enrol(OTHER, request_of(new_key()))
    with pytest.raises(AuthorityLapsed, match="the issuing certificate ended"):
        office.client.issue_service("svc-fleet-1", office.now)
    assert office.client.describe()
    office.now = NOW
    assert office.client.enrol(OTHER, request_of(new_key())).serial, "no name was taken by what came to nothing"
