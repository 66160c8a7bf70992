"""Event streams of one API process: one reader of the event table for all who listen.

A hint that there is something new (`EventHub.notify`, from the broker or from this process's own commits) makes the
reader ask once for rows beyond the last; every `READ_EVERY_S` it asks besides, so a lost hint costs seconds. Rows go to
listeners through bounded queues.

Invariant: a listener gets every event of its filter after ``after_id``, once, in the order of ids, or its stream ends
early and it comes back with the last id it got.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Engine, bindparam, func, select
from sqlalchemy.exc import SQLAlchemyError

from fleet_server.databases import DatabaseAway
from fleet_server.db import reading
from fleet_server.errors import FleetError
from fleet_server.timeline.models import Event

READ_EVERY_S = 5.0
PAGE = 500
MAX_WAITING = 1000
# Each holds a connection and a place in a queue for as long as it likes.
MAX_LISTENERS = 2000
_NOTHING_LATER = 2**63 - 1
_EVENT = Event.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_COLUMNS = ("id", "tenant_id", "device_id", "type", "execution_id", "at", "received_at", "actor", "data")
# Asked after every commit of the fleet: built once.
_NEWER = (
    select(*(_EVENT.c[name] for name in _COLUMNS))
    .where(_EVENT.c.id > bindparam("after_id"))
    .order_by(_EVENT.c.id)
    .limit(PAGE)
)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What a listener wants: a tenant's events, of one device, of one execution."""

    tenant_id: str
    device_id: str | None = None
    execution_id: str | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    id: int
    tenant_id: str
    device_id: str
    type: str
    execution_id: str | None
    at: datetime
    received_at: datetime
    actor: str
    data: dict[str, Any]


# None in a queue ends its stream.
_Queue = asyncio.Queue[EventRow | None]


class TooManyStreams(FleetError):
    code = "too_many_streams"
    status = 503
    retry_after_s = 10


class EventHub:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listeners: defaultdict[EventFilter, set[_Queue]] = defaultdict(set)
        self._last = 0
        self._hinted = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader: asyncio.Task[None] | None = None
        self.fanned_out = 0
        self.dropped_listeners = 0

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = await asyncio.to_thread(self._newest)
        self._reader = asyncio.create_task(self._read_on(), name="event hub")

    async def stop(self) -> None:
        """Ends every stream."""
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None
        for queues in self._listeners.values():
            for queue in queues:
                _end(queue)

    def notify(self) -> None:
        """Something new was committed. May be called from any thread, at any time."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            # A loop that closes between the question and the call has no listeners left.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._hinted.set)

    def require_room(self) -> None:
        """Asked before an answer begins; a stream that has begun can no longer be refused."""
        if sum(len(queues) for queues in self._listeners.values()) >= MAX_LISTENERS:
            raise TooManyStreams(f"{MAX_LISTENERS} event streams are open in this process: come again later")

    async def subscribe(self, where: EventFilter, after_id: int | None = None) -> AsyncIterator[EventRow]:
        """Events beyond ``after_id`` and then as they come; None begins with what comes next."""
        queue: _Queue = asyncio.Queue(MAX_WAITING)
        # Listening comes first: what is recorded during catching up then waits in the queue.
        self._listeners[where].add(queue)
        try:
            last = self._last if after_id is None else after_id
            while after_id is not None:
                page = await asyncio.to_thread(self._read, last, where)
                for row in page:
                    last = row.id
                    yield row
                if len(page) < PAGE:
                    break
            while (row_or_end := await queue.get()) is not None:
                if row_or_end.id > last:
                    last = row_or_end.id
                    yield row_or_end
        finally:
            self._leave(where, queue)

    async def _read_on(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hinted.wait(), READ_EVERY_S)
            self._hinted.clear()
            try:
                rows = await asyncio.to_thread(self._read, self._last)
            except (SQLAlchemyError, DatabaseAway) as error:
                _log.warning("new events could not be read, trying again", error=str(error)[:300])
                continue
            self._hand_out(rows)
            if len(rows) == PAGE:
                self._hinted.set()

    def _hand_out(self, rows: Sequence[EventRow]) -> None:
        for row in rows:
            self._last = row.id
            for device_id in (None, row.device_id):
                for execution_id in {None, row.execution_id}:
                    self._give(EventFilter(row.tenant_id, device_id, execution_id), row)

    def _give(self, where: EventFilter, row: EventRow) -> None:
        for queue in list(self._listeners.get(where, ())):
            try:
                queue.put_nowait(row)
                self.fanned_out += 1
            except asyncio.QueueFull:
                # It is too slow; it gets what it missed when it comes back with its last id.
                self.dropped_listeners += 1
                self._leave(where, queue)
                _end(queue)

    def _leave(self, where: EventFilter, queue: _Queue) -> None:
        queues = self._listeners.get(where)
        if queues is not None:
            queues.discard(queue)
            if not queues:
                del self._listeners[where]

    def _newest(self) -> int:
        try:
            with reading(self._engine) as session:
                return session.execute(select(func.max(_EVENT.c.id))).scalar() or 0
        except DatabaseAway:
            # Begun while nothing answers: another hub is begun when something does.
            return _NOTHING_LATER

    def _read(self, after_id: int, where: EventFilter | None = None) -> list[EventRow]:
        statement = _NEWER
        if where is not None:
            statement = statement.where(_EVENT.c.tenant_id == where.tenant_id)
            if where.device_id is not None:
                statement = statement.where(_EVENT.c.device_id == where.device_id)
            if where.execution_id is not None:
                statement = statement.where(_EVENT.c.execution_id == where.execution_id)
        with reading(self._engine) as session:
            return [EventRow(*row) for row in session.connection().execute(statement, {"after_id": after_id})]


def _end(queue: _Queue) -> None:
    """Throws away all that waits, for a stream with a hole would be believed; it is read again by id."""
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)
