"""Which links are to be asked for live mode, by what API processes say on the watch topic.

Invariant: a link is asked at most once in `SPACING_S`, whatever is requested. Only services may write the topic, so a
request that cannot be read is a mistake of ours: counted, not kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleet_server.mqtt import Received
from protocol import codec
from protocol.errors import Malformed
from protocol.live import WatchRequest

# Several API processes may watch one link, each asks every 10 s.
SPACING_S = 4.0
_PRUNE_FROM = 1000


class Watching:
    def __init__(self) -> None:
        self._asked_s: dict[str, float] = {}
        self.refused = 0  # requests that could not be read

    def due(self, messages: Iterable[Received], now_s: float) -> dict[str, float]:
        """By link, for how many seconds it shall speak. ``now_s`` is monotonic."""
        due: dict[str, float] = {}
        for message in messages:
            request = codec.decode(message.payload, message.content_type, WatchRequest)
            if isinstance(request, Malformed):
                self.refused += 1
            elif now_s - self._asked_s.get(request.link, float("-inf")) >= SPACING_S:
                due[request.link] = max(request.for_s, due.get(request.link, 0.0))
        if len(self._asked_s) > _PRUNE_FROM:
            self._asked_s = {link: asked_s for link, asked_s in self._asked_s.items() if now_s - asked_s < SPACING_S}
        self._asked_s.update(dict.fromkeys(due, now_s))
        return due
