"""The issuer of an installation in the test's own process, with a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from fleet_server.issuer.client import IssuerClient
from fleet_server.issuer.folder import AuthorityPlaces
from fleet_server.issuer.opening import places_of
from fleet_server.issuer.service import Issuer
from fleet_server.settings import ServerSettings


class LocalChannel:
    """Made when first asked, as a process would be."""

    def __init__(self, places: AuthorityPlaces, clock: Callable[[], datetime]) -> None:
        self._places = places
        self._clock = clock
        self._issuer: Issuer | None = None
        self._lock = threading.Lock()

    def ask(self, line: bytes) -> bytes:
        with self._lock:
            if self._issuer is None:
                self._issuer = Issuer(self._places, self._clock)
            return self._issuer.answer(line)

    def close(self) -> None:
        if self._issuer is not None:
            self._issuer.close()
            self._issuer = None


def local_issuer(settings: ServerSettings, clock: Callable[[], datetime]) -> IssuerClient:
    return IssuerClient(LocalChannel(places_of(settings), clock), settings.issuing_chain_file.read_bytes)
