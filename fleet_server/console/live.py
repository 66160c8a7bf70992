"""From the event stream to HTML in an open page: a burst of events becomes one message of parts to be renewed.

Each message carries the id of its last event, so a browser that was cut off goes on where it was. A beat without an id
tells every few seconds that the stream is alive. A stream ends after `LONGEST`, or when its
session does (`fleet_server.auth.stays`); the browser comes back by itself, and whoever is signed out is led to the
sign-in page.

What a device says live comes between, as messages without an id: they are neither remembered nor repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from fleet_server.databases import DatabaseAway
from fleet_server.errors import FleetError
from fleet_server.live.hub import LiveUpdate
from fleet_server.timeline.hub import EventFilter, EventHub, EventRow

_log = structlog.get_logger(__name__)
BEAT = timedelta(seconds=10)
LONGEST = timedelta(minutes=10)
# So many events are told in one message at most; the rest follow in the next.
MAX_BURST = 100

# Events in, HTML out; no events for a beat. None ends the stream after telling the browser so.
Renew = Callable[[Sequence[EventRow]], str | None]
_Waiting = asyncio.Queue[EventRow | LiveUpdate | None]


@dataclass(frozen=True, slots=True)
class LiveSide:
    """What the device says while the page is open, and the HTML it becomes."""

    updates: AsyncIterator[LiveUpdate]
    follow: Callable[[LiveUpdate], str]


@dataclass(frozen=True, slots=True)
class _Burst:
    events: list[EventRow]
    update: LiveUpdate | None
    is_over: bool


def stream(
    hub: EventHub, where: EventFilter, after_id: int, renew: Renew, live: LiveSide | None = None
) -> StreamingResponse:
    hub.require_room()
    messages = _messages(hub.subscribe(where, after_id), renew, live)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(messages, media_type="text/event-stream", headers=headers)


async def _messages(events: AsyncIterator[EventRow], renew: Renew, live: LiveSide | None) -> AsyncIterator[str]:
    waiting: _Waiting = asyncio.Queue(MAX_BURST)
    readers = [asyncio.create_task(_read(events, waiting))]
    if live is not None:
        readers.append(asyncio.create_task(_read_live(live.updates, waiting)))
    clock = asyncio.get_running_loop().time
    ends_at, beat_at = clock() + LONGEST.total_seconds(), clock() + BEAT.total_seconds()
    try:
        # Opens the stream at once: the browser then knows that it is connected.
        yield ": connected\n\n"
        while clock() < ends_at:
            burst = await _burst(waiting, beat_at - clock())
            try:
                html = await run_in_threadpool(_html, burst, renew, live)
            except (DatabaseAway, DBAPIError) as error:
                # The browser comes back by itself, and goes on where it was as soon as something can be read.
                _log.warning("a live page was cut off", error=str(error)[:300])
                return
            except FleetError as error:
                # What the page shows is no longer to be seen, such as a device that was retired meanwhile.
                _log.info("a live page ended", code=error.code)
                html = None
            if html is None:
                yield "event: ended\ndata: ended\n\n"
                return
            if burst.events or burst.update is None:
                # Live messages do not put off the beat: it renews what they leave alone.
                beat_at = clock() + BEAT.total_seconds()
            if html:
                yield message(html, burst.events[-1].id if burst.events else None)
            if burst.is_over:
                return
    finally:
        for reader in readers:
            reader.cancel()
        for ended in await asyncio.gather(*readers, return_exceptions=True):
            if isinstance(ended, Exception):
                _log.error("a live page lost one of its sources", exc_info=ended)


def _html(burst: _Burst, renew: Renew, live: LiveSide | None) -> str | None:
    if burst.update is None or live is None:
        return renew(burst.events)
    followed = live.follow(burst.update)
    if not burst.events:
        return followed
    # What is drawn anew has the live values in it already.
    renewed = renew(burst.events)
    return None if renewed is None else followed + renewed


async def _read(events: AsyncIterator[EventRow], waiting: _Waiting) -> None:
    async for event in events:
        await waiting.put(event)
    await waiting.put(None)


async def _read_live(updates: AsyncIterator[LiveUpdate], waiting: _Waiting) -> None:
    """Its end is not the page's."""
    async for update in updates:
        await waiting.put(update)


async def _burst(waiting: _Waiting, patience_s: float) -> _Burst:
    """What is there by now, at least one thing, or nothing when the beat is due. Of live updates the newest."""
    events: list[EventRow] = []
    update: LiveUpdate | None = None
    try:
        one = await asyncio.wait_for(waiting.get(), max(patience_s, 0.0))
    except TimeoutError:
        return _Burst(events, None, is_over=False)
    while one is not None:
        if isinstance(one, LiveUpdate):
            update = one
        else:
            events.append(one)
        if waiting.empty() or len(events) == MAX_BURST:
            return _Burst(events, update, is_over=False)
        one = waiting.get_nowait()
    return _Burst(events, update, is_over=True)


def message(html: str, event_id: int | None) -> str:
    lines = [f"id: {event_id}"] if event_id is not None else []
    lines += [f"data: {line}" for line in html.splitlines()]
    return "\n".join(lines) + "\n\n"


def partial(target: str, html: str, swap: str = "outerMorph") -> str:
    """A part of the page that is renewed in place; focus and open details stay."""
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{html}</hx-partial>'
