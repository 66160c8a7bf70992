"""That somebody listens again, said to every link after a time in which nobody did, or when the database went back.

A link that is not answered tries less and less often, up to five minutes apart. Without a word it would go on like that
after an outage, and one whose window is full of what was lost says nothing else by which it could hear of the end. The
word is an acknowledgement of what is committed, so that a link learns of a new epoch by it as well.

What was told last is written down, for whoever comes next: ``epoch`` and whether all were told of it. Several workers
that come back together may each tell everybody. Invariant: what is said here was read in the transaction whose epoch it
is said for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Final

from sqlalchemy import select
from sqlmodel import Session

from fleet_server.devices.models import Device
from fleet_server.ingest.installation import is_another_listening, read_state, save_state
from fleet_server.ingest.watermarks import acks_of
from protocol.streams import StreamAck

# Each link told sends at once what fits into its windows.
TOLD_PER_S: Final = 500
TOLD_AT_ONCE: Final = 100
TOLD: Final = "comeback_told"
_RETRY_S: Final = 1.0
_DEVICE = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it


@dataclass(frozen=True, slots=True)
class Word:
    link_id: str
    acks: list[StreamAck]


class Comeback:
    """``worker``: the name of the one that asks, which is no other."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._is_asked = False  # whether somebody has to be told is not known yet
        self._is_sure = False
        self._after: str | None = None  # the last link told; None: nobody is being told
        self._due_s = inf

    def on_listening(self) -> None:
        """Messages reach this worker from now on."""
        self._is_asked = True
        self._due_s = 0.0

    def on_away(self) -> None:
        """Nothing was taken for so long that messages were given back: all have to be told."""
        self._is_sure = True

    def on_other_database(self) -> None:
        """Which may have gone back, or been away before it took over."""
        self._is_asked = True
        self._due_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Until `take` has something to do."""
        return max(0.0, self._due_s - now_s)

    def put_off(self, now_s: float) -> None:
        """The database takes nothing now."""
        self._due_s = now_s + _RETRY_S

    def take(self, session: Session, epoch: str, now: datetime) -> list[Word]:
        """The next links, in a transaction of its own; `done` follows when it is committed and they are told."""
        if self._is_asked and (self._is_sure or self._has_to_tell(session, epoch, now)):
            self._after = ""
            save_state(session, TOLD, {"epoch": epoch, "is_whole": False})
        if self._after is None:
            return []
        links = session.execute(
            select(_DEVICE.c.id)
            .where(_DEVICE.c.kind != "attached", _DEVICE.c.retired_at.is_(None), _DEVICE.c.id > self._after)
            .order_by(_DEVICE.c.id)
            .limit(TOLD_AT_ONCE)
        ).scalars()
        found = [str(link) for link in links]
        if not found:
            save_state(session, TOLD, {"epoch": epoch, "is_whole": True})
        known: defaultdict[str, list[StreamAck]] = defaultdict(list)
        for link, ack in acks_of(session, found):
            known[link].append(ack)
        return [Word(link, known[link]) for link in found]

    def done(self, words: Sequence[Word], now_s: float) -> None:
        self._is_asked = self._is_sure = False
        self._after = words[-1].link_id if words else None
        self._due_s = now_s + len(words) / TOLD_PER_S if words else inf

    def _has_to_tell(self, session: Session, epoch: str, now: datetime) -> bool:
        told = read_state(session, TOLD)
        if told is None or told["epoch"] != epoch:
            return True
        return not (told["is_whole"] and is_another_listening(session, self._worker, now))
