from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_server.enrollment.authority import LEAF_LIFE, Authority, due_for_renewal, hosts_of, is_issued_by
from fleet_server.enrollment.errors import NameNotEnrollable
from protocol.broker_rules import SERVICE_NAMES

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
LINK = "d-0123456789abcdef"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make(NOW)


def test_a_links_certificate_carries_its_id_and_is_for_clients_only(authority: Authority) -> None:
    certificate = x509.load_pem_x509_certificate(authority.issue_link(LINK, NOW).certificate_pem)
    assert [one.value for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [LINK]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_no_leaf_lives_longer_than_ninety_days(authority: Authority) -> None:
    for issued in (
        authority.issue_link(LINK, NOW),
        authority.issue_service("svc-fleet-1", NOW),
        authority.issue_server(["localhost"], NOW),
    ):
        certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= LEAF_LIFE
        assert certificate.not_valid_after_utc == issued.not_after


@pytest.mark.parametrize(
    "name", ["svc-fleet-1", "svc-anything", "+", "#", "dev-a/x", "", " " * 8, "SHORT", "d-0123456789abcde\n", "d" * 65]
)
def test_names_that_could_match_others_are_never_certified(authority: Authority, name: str) -> None:
    with pytest.raises(NameNotEnrollable):
        authority.issue_link(name, NOW)


def test_a_service_certificate_is_only_for_a_known_service(authority: Authority) -> None:
    with pytest.raises(NameNotEnrollable):
        authority.issue_service(LINK, NOW)
    assert authority.issue_service(SERVICE_NAMES[0], NOW).serial


def test_a_server_certificate_names_every_host(authority: Authority) -> None:
    issued = authority.issue_server(["127.0.0.1", "localhost", "pos.example", "::1", "localhost"], NOW)
    assert hosts_of(issued.certificate_pem) == {"127.0.0.1", "localhost", "pos.example", "::1"}


def test_renewal_is_due_after_two_thirds_of_the_life(authority: Authority) -> None:
    pem = authority.issue_link(LINK, NOW).certificate_pem
    assert not due_for_renewal(pem, NOW + timedelta(days=59))
    assert due_for_renewal(pem, NOW + timedelta(days=60))
    assert due_for_renewal(b"not a certificate", NOW)


def test_it_tells_its_own_from_a_look_alikes(authority: Authority) -> None:
    pem = authority.issue_link(LINK, NOW).certificate_pem
    assert is_issued_by(pem, authority)
    assert not is_issued_by(pem, Authority.make(NOW))
    assert not is_issued_by(b"not a certificate", authority)


def test_it_comes_back_from_its_files_as_it_was(authority: Authority) -> None:
    again = Authority.from_pem(authority.chain_pem, authority.key_pem)
    assert is_issued_by(again.issue_link(LINK, NOW).certificate_pem, authority)
