from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet_server.enrollment.authority import Authority, hosts_of
from fleet_server.enrollment.tls_files import Addresses, renew_own_certificates
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
