"""How often somebody may try to show who they are, before any password is hashed.

For each address, `BURST` wrong tries and then one each 5 s; what succeeds costs nothing, so that a call centre behind
one address is not held up. An IPv6 customer has a whole /64. Counted in each process: N of them let N times as much
pass. Names are counted in the database (`fleet_server.auth.tries`), hashes in flight by `fleet_server.auth.passwords`.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable

from fleet_server.auth.errors import TooManyTries
from fleet_server.kit.rate_limit import TokenBuckets

BURST = 30
RATE_PER_S = 0.2
_IPV6_SITE = 64


class SignInLimits:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = TokenBuckets(rate_per_s=RATE_PER_S, burst=BURST)
        self._clock = clock

    def take(self, address: str) -> None:
        wait_s = self._buckets.take(_site_of(address), self._clock())
        if wait_s > 0:
            raise TooManyTries(max(1, math.ceil(wait_s)))

    def give_back(self, address: str) -> None:
        self._buckets.give_back(_site_of(address))


def _site_of(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, _IPV6_SITE), strict=False))
