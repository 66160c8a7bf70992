from __future__ import annotations

import ipaddress
import socket

import pytest

from fleet_server.enrollment.own_names import WILDCARDS, own_addresses, public_host


def test_a_named_host_is_what_people_type() -> None:
    assert public_host("pos.example") == "pos.example"


@pytest.mark.parametrize("wildcard", sorted(WILDCARDS))
def test_a_server_on_all_addresses_is_reached_by_a_name_or_address_of_this_machine(wildcard: str) -> None:
    assert public_host(wildcard) in {socket.gethostname(), "127.0.0.1", *own_addresses()}


def test_a_name_that_leads_to_loopback_only_is_not_what_other_machines_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(socket.AF_INET, 0, 0, "", ("127.0.1.1", 0))])
    assert public_host("0.0.0.0") == own_addresses()[0]  # noqa: S104  # named, not bound to


def test_addresses_are_ip_addresses_once_each_with_loopback_last() -> None:
    addresses = own_addresses()
    assert len(set(addresses)) == len(addresses)
    is_loopback = [ipaddress.ip_address(address).is_loopback for address in addresses]
    assert is_loopback == sorted(is_loopback)
