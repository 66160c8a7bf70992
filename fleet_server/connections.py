"""Who holds how many of the HTTP server's connections, and which one goes when there are too many.

Invariant: never more than `ConnectionLimits.most`, and never more than ``most_per_address`` of one address, proxies
excepted. Who comes when all places are taken gets the place of the one that has kept the server waiting longest; only
when all are being served is he turned away. So a thousand clients that never finish a request keep nobody out.
"""

from __future__ import annotations

import resource
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

# For the database, the broker, files and pipes; `make run` sees no more than 60.
_FILES_FOR_OTHERS = 256

Connection = TypeVar("Connection", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    most: int = 4000
    most_per_address: int = 400
    # Addresses that many people come through; `fleet_server.address_limit` knows them apart by what the proxy says.
    proxies: frozenset[str] = frozenset({"127.0.0.1", "::1"})


class Place(Enum):
    GIVEN = "given"
    TOO_MANY_OF_ADDRESS = "too_many_of_address"
    TOO_MANY = "too_many"


class Connections(Generic[Connection]):
    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._held: dict[Connection, str] = {}
        self._by_address: Counter[str] = Counter()
        # Those that have not finished a request, the one that began to wait first in front.
        self._unfinished: OrderedDict[Connection, None] = OrderedDict()
        self.refused = 0
        self.displaced = 0

    def __len__(self) -> int:
        return len(self._held)

    def admit(self, connection: Connection, address: str) -> tuple[Place, Connection | None]:
        """Whether it may stay, and the connection that must go for it."""
        if address not in self._limits.proxies and self._by_address[address] >= self._limits.most_per_address:
            self.refused += 1
            return Place.TOO_MANY_OF_ADDRESS, None
        displaced = None
        if len(self._held) >= self._limits.most:
            if not self._unfinished:
                self.refused += 1
                return Place.TOO_MANY, None
            displaced = next(iter(self._unfinished))
            self.gone(displaced)
            self.displaced += 1
        self._held[connection] = address
        self._by_address[address] += 1
        self._unfinished[connection] = None
        return Place.GIVEN, displaced

    def served(self, connection: Connection) -> None:
        """It has finished its request, and is owed an answer."""
        self._unfinished.pop(connection, None)

    def waits(self, connection: Connection) -> None:
        """It was answered; what it does next it has yet to say."""
        if connection in self._held:
            self._unfinished[connection] = None

    def gone(self, connection: Connection) -> None:
        address = self._held.pop(connection, None)
        self._unfinished.pop(connection, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


def within_open_files(limits: ConnectionLimits) -> ConnectionLimits:
    """As many as this process may have open files for; its soft limit is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.most + _FILES_FOR_OTHERS
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = max(1, min(limits.most, soft - _FILES_FOR_OTHERS))
    return ConnectionLimits(most, limits.most_per_address, limits.proxies)
