from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_server.enrollment.authority import (
    LEAF_LIFE,
    Authority,
    Root,
    due_for_renewal,
    hosts_of,
    is_issued_by,
    is_list_due,
)
from fleet_server.enrollment.errors import AuthorityLapsed, NameNotEnrollable
from protocol.broker_rules import PROBE_NAMES, PROBE_PREFIX, SERVICE_NAMES

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


def test_nothing_below_the_issuing_authority_is_an_authority(authority: Authority) -> None:
    for certificate, levels in ((authority.certificate, 0), (authority.root, 1)):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, levels)


@pytest.mark.parametrize("name", [LINK, *SERVICE_NAMES[:1], PROBE_PREFIX, f"{PROBE_PREFIX}A", f"{PROBE_PREFIX}/#", "#"])
def test_a_probe_is_certified_as_its_own_service_or_as_nobodys_device(authority: Authority, name: str) -> None:
    with pytest.raises(NameNotEnrollable):
        authority.issue_probe(name, NOW)
    for own in (*PROBE_NAMES, f"{PROBE_PREFIX}{'0' * 12}"):
        assert authority.issue_probe(own, NOW).not_after <= NOW + timedelta(minutes=10)


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


def test_what_a_clock_that_was_ahead_made_is_due_at_once(authority: Authority) -> None:
    ahead = authority.issue_link(LINK, NOW + timedelta(days=2)).certificate_pem
    assert due_for_renewal(ahead, NOW)
    assert is_list_due(authority.revocation_list((), NOW + timedelta(days=2)), authority.certificate, (), NOW)
    assert not is_list_due(authority.revocation_list((), NOW), authority.certificate, (), NOW)


def test_an_authority_that_has_ended_or_not_begun_signs_nothing_and_says_what_to_do(authority: Authority) -> None:
    end = authority.certificate.not_valid_after_utc
    assert authority.issue_link(LINK, end - timedelta(seconds=1)).not_after == end
    for now in (end, end + timedelta(days=1), NOW - timedelta(days=1)):
        said = "'fleet-server rotate issuing', unless this machine's clock"
        with pytest.raises(AuthorityLapsed, match=said):
            authority.issue_link(LINK, now)
        with pytest.raises(AuthorityLapsed, match=said):
            authority.issue_server(["localhost"], now)
        with pytest.raises(AuthorityLapsed, match=said):
            authority.issue_service("svc-fleet-1", now)


def test_a_root_that_has_ended_signs_nothing_until_it_is_renewed_under_the_same_name_and_key() -> None:
    root = Root.make(NOW)
    before = root.make_issuing(NOW)
    late = root.certificate.not_valid_after_utc
    with pytest.raises(AuthorityLapsed, match="'fleet-server authority root'"):
        root.make_issuing(late)
    renewed = root.renewed(late)
    assert renewed.certificate.not_valid_after_utc > late + timedelta(days=3000)
    below = renewed.make_issuing(late)
    # Whoever trusts the former certificate believes what is below the new one, and the other way round.
    below.certificate.verify_directly_issued_by(root.certificate)
    before.certificate.verify_directly_issued_by(renewed.certificate)
    assert renewed.certificate.serial_number != root.certificate.serial_number
