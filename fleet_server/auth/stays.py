"""Open streams end when whoever opened them is let in no more: a request is asked about once, a stream lasts.

All streams of a process are asked about together, each `LOOK_EVERY_S`, by one question for tokens and one for sessions,
however many there are. What cannot be asked about, because the database is away, goes on: events are read from there.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.sessions import IDLE_LIMIT
from fleet_server.databases import DatabaseAway
from fleet_server.db import reading
from fleet_server.kit.times import utc_now

LOOK_EVERY_S: Final = 2.0
T = TypeVar("T")
_log = structlog.get_logger(__name__)


class By(StrEnum):
    TOKEN = "token"  # noqa: S105 - a kind, not a secret
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Stay:
    """By what somebody was let in: the id of a token, or the hashed id of a session."""

    by: By
    id: str


class Stays:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: defaultdict[Stay, set[asyncio.Event]] = defaultdict(set)
        self._watcher: asyncio.Task[None] | None = None
        self.ended = 0

    def start(self) -> None:
        self._watcher = asyncio.create_task(self._watch(), name="streams' doorkeeper")

    async def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher

    async def while_let_in(self, stay: Stay, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """``items``, until they end or whoever asked for them is let in no more."""
        is_over = asyncio.Event()
        self._open[stay].add(is_over)
        over = asyncio.ensure_future(is_over.wait())
        try:
            while (item := await _next(items, over)) is not None:
                yield item
        finally:
            over.cancel()
            self._leave(stay, is_over)

    def _leave(self, stay: Stay, is_over: asyncio.Event) -> None:
        self._open[stay].discard(is_over)
        if not self._open[stay]:
            del self._open[stay]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            asked = list(self._open)
            if not asked:
                continue
            try:
                gone = await asyncio.to_thread(self._gone, asked)
            except (SQLAlchemyError, DatabaseAway) as error:
                _log.warning("whether streams may go on could not be asked", error=str(error)[:300])
                continue
            for stay in gone:
                for is_over in self._open.get(stay, ()):
                    self.ended += 1
                    is_over.set()

    def _gone(self, asked: Collection[Stay]) -> set[Stay]:
        now = utc_now()
        tokens = {stay.id for stay in asked if stay.by is By.TOKEN}
        sessions = {stay.id for stay in asked if stay.by is By.SESSION}
        with reading(self._engine) as session:
            people = AuthRepository(session)
            living = {Stay(By.TOKEN, one) for one in people.living_tokens(tokens, now)}
            living |= {Stay(By.SESSION, one) for one in people.living_sessions(sessions, now, now - IDLE_LIMIT)}
        return {*asked} - living


async def _next(items: AsyncIterator[T], over: asyncio.Future[Any]) -> T | None:
    """None at the end."""
    coming = asyncio.ensure_future(anext(items, None))
    waited: set[asyncio.Future[Any]] = {coming, over}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not coming.done():
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
    return None if over.done() and coming.cancelled() else coming.result()
