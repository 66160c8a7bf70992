"""When to acknowledge: at once to a link that has been quiet, otherwise gathered. Pure; time comes in as an argument.

Invariant: of one link at most one acknowledgement in 200 ms, unless its window is full; none is
forgotten but by `forget` and `forget_old`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet_server.ingest.flush import BatchAck
from protocol.streams import WINDOW_BATCHES, StreamKind

SPACING_S = 0.2
# Who was not answered for longer sends again soon, and is answered then: told late, a number that another worker has
# passed meanwhile would look to the agent as if the database had gone back.
KEPT_S = 10.0
_PRUNE_FROM = 10_000


@dataclass(frozen=True, slots=True)
class DueAck:
    link_id: str
    acks: list[BatchAck]

    @property
    def is_urgent(self) -> bool:
        return any(one.kind is StreamKind.URGENT for one in self.acks)


@dataclass(slots=True)
class _Waiting:
    due_s: float
    acks: dict[str, BatchAck] = field(default_factory=dict)
    batches: int = 0


class AckPacer:
    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}
        self._sent_s: dict[str, float] = {}

    def add(self, ack: BatchAck, now_s: float) -> None:
        waiting = self._waiting.get(ack.link_id)
        if waiting is None:
            last_s = self._sent_s.get(ack.link_id)
            waiting = _Waiting(now_s if last_s is None else max(now_s, last_s + SPACING_S))
            self._waiting[ack.link_id] = waiting
        waiting.acks[ack.ack.stream] = ack
        waiting.batches += ack.batches
        if waiting.batches >= WINDOW_BATCHES:
            waiting.due_s = now_s

    def take_due(self, now_s: float) -> list[DueAck]:
        due = [link for link, waiting in self._waiting.items() if waiting.due_s <= now_s]
        for link in due:
            self._sent_s[link] = now_s
        if len(self._sent_s) > _PRUNE_FROM:
            self._sent_s = {link: sent_s for link, sent_s in self._sent_s.items() if sent_s > now_s - SPACING_S}
        return [DueAck(link, list(self._waiting.pop(link).acks.values())) for link in due]

    def take_all(self, now_s: float) -> list[DueAck]:
        """At the end nothing is gathered any more."""
        for waiting in self._waiting.values():
            waiting.due_s = now_s
        return self.take_due(now_s)

    def forget(self) -> int:
        """How many links were waiting: who is not answered sends again."""
        count = len(self._waiting)
        self._waiting.clear()
        return count

    def forget_old(self, now_s: float) -> int:
        """As `forget`, of those that have waited longer than anybody waits for them."""
        old = [link for link, waiting in self._waiting.items() if waiting.due_s < now_s - KEPT_S]
        for link in old:
            del self._waiting[link]
        return len(old)

    def next_due_s(self) -> float | None:
        return min((waiting.due_s for waiting in self._waiting.values()), default=None)
