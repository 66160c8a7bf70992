"""What leaves the process after a commit: commands to devices, and the hint that there are new events.

Invariant: nothing is published for a transaction that was rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from sqlmodel import Session

from fleet_server.executions.dispatch import COMMAND_QOS, Outgoing
from fleet_server.kit.after_commit import after_commit
from fleet_server.timeline.writer import NewEvent, append_events
from protocol.topics import EVENTS


class Courier(Protocol):
    """The broker as this domain needs it; `fleet_server.mqtt.ServerLink` is one."""

    @property
    def is_connected(self) -> bool: ...

    def publish(self, topic: str, payload: bytes, qos: int, content_type: str = ...) -> bool: ...


class Outbound:
    """``wake``: tells this process's own event streams at once, without the way over the broker."""

    def __init__(self, courier: Courier | None, wake: Callable[[], None]) -> None:
        self._courier = courier
        self._wake = wake

    @property
    def is_connected(self) -> bool:
        return self._courier is not None and self._courier.is_connected

    def after_commit(self, session: Session, outgoing: Sequence[Outgoing], event_ids: Sequence[int]) -> None:
        after_commit(session, lambda: self.publish(outgoing, event_ids))

    def announce(
        self,
        session: Session,
        tenant_id: str,
        outgoing: Sequence[Outgoing],
        events: Sequence[NewEvent],
        now: datetime,
    ) -> None:
        """Events into the timeline, and with ``outgoing`` out after the commit."""
        # The audit entry goes first: from the first event to the commit PostgreSQL holds a lock that all writers want.
        session.flush()
        ids = append_events(session, tenant_id, events, now)
        self.after_commit(session, outgoing, ids)

    def publish(self, outgoing: Sequence[Outgoing], event_ids: Sequence[int]) -> None:
        """Commands first: people wait for their answers. A message that is not taken is sent again when due."""
        if self._courier is not None:
            for message in outgoing:
                self._courier.publish(message.topic, message.payload, COMMAND_QOS, message.content_type)
        if event_ids:
            self._wake()
            if self._courier is not None:
                self._courier.publish(EVENTS, msgspec.json.encode(list(event_ids)), 0)
