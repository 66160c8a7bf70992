"""A broker in memory that keeps no promise: what waits in it may be dropped, doubled, shuffled or forgotten.

Up goes one queue for all links, as a shared subscription does; a message taken by a worker and not answered goes back
into it when the worker is gone. Down goes one queue a link, kept while the link is away.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import count

from device_agent.core.effects import Arrived, Publish
from fleet_server.ingest.answers import Publication
from fleet_server.ingest.door import Taken
from fleet_server.mqtt import Received
from protocol.identifiers import LinkId
from protocol.topics import PREFIX, Down, up


class Broker:
    def __init__(self) -> None:
        self.up: list[Received] = []
        self.down: defaultdict[str, list[Arrived]] = defaultdict(list)
        self._unanswered: dict[int, Received] = {}
        self._mids = count(1)

    def publish_up(self, link: LinkId, message: Publish) -> None:
        self.up.append(Received(up(link, message.kind), message.payload, message.content_type, next(self._mids), 1))

    def publish_down(self, message: Publication) -> None:
        if not message.topic.startswith(PREFIX):
            return  # Hints for the console's event streams.
        _, _, link, _, kind = message.topic.split("/")
        self.down[link].append(Arrived(Down(kind), message.payload, message.content_type))

    def hand_out(self, most: int) -> list[Taken]:
        taken, self.up = self.up[:most], self.up[most:]
        self._unanswered |= {id(one): one for one in taken}
        return [Taken(one, 1) for one in taken]

    def answered(self, taken: list[Taken]) -> None:
        for one in taken:
            self._unanswered.pop(id(one.message), None)

    def take_back(self) -> None:
        """The worker is gone: what it did not answer is for the next one."""
        self.up = [*self._unanswered.values(), *self.up]
        self._unanswered.clear()

    def forget(self) -> None:
        self.up.clear()
        self.down.clear()
        self._unanswered.clear()
