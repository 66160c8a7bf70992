from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from fleet_server.enrollment.authority import CRL_LIFE, Authority, hosts_of
from fleet_server.enrollment.errors import DataFolderUnusable
from fleet_server.enrollment.tls_files import (
    REVOCATION_LIST,
    Addresses,
    read_revoked,
    renew_own_certificates,
    renew_revocation_list,
)
from protocol.broker_rules import SERVICE_NAMES

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
LOOPBACK = Addresses("127.0.0.1", 8883, "127.0.0.1")
EVERYTHING = {"broker", "http", *SERVICE_NAMES}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make(NOW)


def test_what_is_still_good_stays(authority: Authority, tmp_path: Path) -> None:
    assert set(renew_own_certificates(authority, tmp_path, LOOPBACK, NOW)) == EVERYTHING
    assert renew_own_certificates(authority, tmp_path, LOOPBACK, NOW + timedelta(days=50)) == []
    assert set(renew_own_certificates(authority, tmp_path, LOOPBACK, NOW + timedelta(days=61))) == EVERYTHING


def test_another_authority_makes_all_anew(authority: Authority, tmp_path: Path) -> None:
    renew_own_certificates(authority, tmp_path, LOOPBACK, NOW)
    other = Authority.make(NOW)
    assert set(renew_own_certificates(other, tmp_path, LOOPBACK, NOW)) == EVERYTHING
    assert (tmp_path / "ca.crt").read_bytes() == other.certificate_pem


def test_a_lost_key_makes_its_certificate_anew(authority: Authority, tmp_path: Path) -> None:
    renew_own_certificates(authority, tmp_path, LOOPBACK, NOW)
    (tmp_path / "svc-api-1.key").unlink()
    assert renew_own_certificates(authority, tmp_path, LOOPBACK, NOW) == ["svc-api-1"]


def test_a_new_address_renews_only_what_is_reached_by_it(authority: Authority, tmp_path: Path) -> None:
    renew_own_certificates(authority, tmp_path, LOOPBACK, NOW)
    moved = replace(LOOPBACK, http_host="pos.example")
    assert renew_own_certificates(authority, tmp_path, moved, NOW) == ["http"]
    assert hosts_of((tmp_path / "http.crt").read_bytes()) == {"127.0.0.1", "localhost", "pos.example"}


def test_a_server_on_every_address_is_known_by_the_machines_name(authority: Authority, tmp_path: Path) -> None:
    everywhere = "0.0.0.0"  # noqa: S104  # written into a certificate, not bound to
    renew_own_certificates(authority, tmp_path, replace(LOOPBACK, http_host=everywhere), NOW)
    assert {"127.0.0.1", "localhost", socket.gethostname()} <= hosts_of((tmp_path / "http.crt").read_bytes())


def test_the_list_of_revoked_ones_is_renewed_long_before_it_ends_and_when_it_changes(
    authority: Authority, tmp_path: Path
) -> None:
    made = ["revocation list"]
    assert renew_revocation_list(authority, tmp_path, (), NOW) == made
    assert renew_revocation_list(authority, tmp_path, (), NOW + CRL_LIFE / 4) == []
    assert renew_revocation_list(authority, tmp_path, (), NOW + CRL_LIFE / 2) == made
    assert renew_revocation_list(authority, tmp_path, (0xABC,), NOW + CRL_LIFE / 2) == made
    assert renew_revocation_list(Authority.make(NOW), tmp_path, (0xABC,), NOW + CRL_LIFE / 2) == made
    found = x509.load_pem_x509_crl((tmp_path / REVOCATION_LIST).read_bytes())
    assert [entry.serial_number for entry in found] == [0xABC]
    (tmp_path / REVOCATION_LIST).write_text("damaged", "utf-8")
    assert renew_revocation_list(authority, tmp_path, (), NOW) == made


def test_revoked_serials_are_read_as_people_write_them(tmp_path: Path) -> None:
    assert read_revoked(tmp_path) == frozenset()
    (tmp_path / "revoked").write_text("0A:bc  # stolen in March\n\n# a remark\nff\n", "utf-8")
    assert read_revoked(tmp_path) == {0x0ABC, 0xFF}
    (tmp_path / "revoked").write_text("not a number\n", "utf-8")
    with pytest.raises(DataFolderUnusable, match="expected a hexadecimal serial number"):
        read_revoked(tmp_path)
