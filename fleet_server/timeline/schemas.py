"""HTTP shapes of the timeline; the same on pages and on event streams."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import msgspec
from fastapi.sse import ServerSentEvent

from fleet_server.kit.schemas import Answer, Moment
from fleet_server.kit.times import text
from protocol.shown_text import one_line


class Happening(Protocol):
    """A row of the event table, read by the ORM or by the hub."""

    @property
    def id(self) -> int | None: ...
    @property
    def type(self) -> str: ...
    @property
    def device_id(self) -> str: ...
    @property
    def execution_id(self) -> str | None: ...
    @property
    def at(self) -> datetime: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def actor(self) -> str: ...
    @property
    def data(self) -> dict[str, Any]: ...


class EventRead(Answer):
    id: int
    type: str
    device: str
    execution: str | None
    at: Moment
    received_at: Moment
    actor: str
    data: dict[str, Any]


def event_fields(event: Happening) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "device": event.device_id,
        "execution": event.execution_id,
        "at": event.at,
        "received_at": event.received_at,
        "actor": event.actor,
        "data": event.data,
    }


def event_read(event: Happening) -> EventRead:
    return EventRead(**event_fields(event))


def streamed(event: Happening) -> ServerSentEvent:
    """The same document in one line, whatever a reader takes for the end of one."""
    fields = {**event_fields(event), "at": text(event.at), "received_at": text(event.received_at)}
    return ServerSentEvent(raw_data=one_line(msgspec.json.encode(fields).decode()), event=event.type, id=str(event.id))
