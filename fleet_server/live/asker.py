"""Who is watched is said on the watch topic, so that ingest asks those links to speak.

Invariant: of one link at most once in `ASK_EVERY_S`, and nothing once nobody watches: the link falls silent by itself
`ASK_FOR_S` after the last request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from fleet_server.live.hub import LiveHub
from protocol import codec
from protocol.live import WatchRequest
from protocol.topics import WATCH

ASK_EVERY_S = 10.0
ASK_FOR_S = 20.0
_LOOK_EVERY_S = 1.0

# Topic, payload, QoS; whether it was taken.
Publish = Callable[[str, bytes, int], bool]


class Throttle:
    """Pure; bounded by the links that are watched or were in the last `ASK_EVERY_S`."""

    def __init__(self) -> None:
        self._asked_s: dict[str, float] = {}

    def due(self, links: Iterable[str], now_s: float) -> list[str]:
        self._asked_s = {link: asked_s for link, asked_s in self._asked_s.items() if now_s - asked_s < ASK_EVERY_S}
        return [link for link in links if link not in self._asked_s]

    def note(self, link: str, now_s: float) -> None:
        self._asked_s[link] = now_s


class LiveAsker:
    def __init__(self, hub: LiveHub, publish: Publish) -> None:
        self._hub = hub
        self._publish = publish
        self._throttle = Throttle()

    async def run(self) -> None:
        while True:
            if not self._ask(time.monotonic()):
                # Nobody watches: nothing to look at until somebody does.
                await self._hub.opened.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hub.opened.wait(), _LOOK_EVERY_S)
            self._hub.opened.clear()

    def _ask(self, now_s: float) -> bool:
        """Whether anybody watches. What was not taken is said again at the next look."""
        links = self._hub.links(now_s)
        for link in self._throttle.due(sorted(links), now_s):
            if self._publish(WATCH, codec.to_json(WatchRequest(link, ASK_FOR_S)), 0):
                self._throttle.note(link, now_s)
                self._hub.counters["asked"] += 1
        return bool(links)
