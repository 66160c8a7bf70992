"""How many event streams one caller holds open: whoever forgets to close them, or means harm, must not take the places
of all others in this process (`fleet_server.timeline.hub.MAX_LISTENERS`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import Depends, Request

from fleet_server.access import CallerDep
from fleet_server.auth.dependencies import ConsoleSessionDep
from fleet_server.errors import FleetError

# A desk with a device in each of many tabs; a program that follows each of its gateways.
MAX_STREAMS = 64
RETRY_AFTER_S = 10


class TooManyOwnStreams(FleetError):
    code = "too_many_own_streams"
    status = 429
    retry_after_s = RETRY_AFTER_S


class StreamPlaces:
    """By the caller's id, on one event loop."""

    def __init__(self, most: int = MAX_STREAMS) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def held(self, caller: str) -> Iterator[None]:
        if self._open[caller] >= self._most:
            raise TooManyOwnStreams(f"{self._most} event streams of yours are open: close one of them first")
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]


async def _of_caller(request: Request, caller: CallerDep) -> AsyncIterator[None]:
    with _places(request).held(caller.id):
        yield


async def _of_person(request: Request, session: ConsoleSessionDep) -> AsyncIterator[None]:
    with _places(request).held(session.actor.id):
        yield


def _places(request: Request) -> StreamPlaces:
    places: StreamPlaces = request.app.state.stream_places
    return places


# For the routes of event streams; the place is given back when the answer has ended.
ONE_STREAM: Any = Depends(_of_caller)
ONE_STREAM_OF_A_PAGE: Any = Depends(_of_person)
