"""Under which names and addresses this machine is reached when a server listens on all of them."""

from __future__ import annotations

import ipaddress
import socket

WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not bound to
# Documentation addresses (RFC 5737, RFC 3849): connecting a datagram socket sends nothing, it only asks for the route.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def own_addresses() -> list[str]:
    """Those that other machines can reach first; the loopback addresses that the own name stands for last."""
    found = [*_addresses_of_routes(), *_addresses_of_name()]
    return sorted(dict.fromkeys(found), key=lambda address: ipaddress.ip_address(address).is_loopback)


def public_host(host: str) -> str:
    """What people type to reach a server that listens on ``host``: Debian's own name of a machine leads to loopback."""
    if host not in WILDCARDS:
        return host
    named = _addresses_of_name()
    if any(not ipaddress.ip_address(address).is_loopback for address in named):
        return socket.gethostname()
    return next(iter(own_addresses()), "127.0.0.1")


def _addresses_of_routes() -> list[str]:
    found = []
    for family, elsewhere in _ELSEWHERE:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((elsewhere, 9))
            except OSError:
                continue  # no route of this family
            found.append(str(probe.getsockname()[0]).partition("%")[0])
    return found


def _addresses_of_name() -> list[str]:
    try:
        return [str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(socket.gethostname(), None)]
    except OSError:
        return []
