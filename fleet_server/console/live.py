"""From the event stream to HTML in an open page: a burst of events becomes one message of parts to be renewed.

Each message carries the id of its last event, so a browser that was cut off goes on where it was. A beat without an id
tells every few seconds that the stream is alive. A stream ends after `LONGEST`; the browser comes back by itself, and
by then whoever was signed out meanwhile is led to the sign-in page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from fleet_server.errors import FleetError
from fleet_server.timeline.hub import EventFilter, EventHub, EventRow

_log = structlog.get_logger(__name__)
BEAT = timedelta(seconds=10)
LONGEST = timedelta(minutes=10)
# So many events are told in one message at most; the rest follow in the next.
MAX_BURST = 100

# Events in, HTML out; no events for a beat. None ends the stream after telling the browser so.
Renew = Callable[[Sequence[EventRow]], str | None]


def stream(hub: EventHub, where: EventFilter, after_id: int, renew: Renew) -> StreamingResponse:
    messages = _messages(hub, where, after_id, renew)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(messages, media_type="text/event-stream", headers=headers)


async def _messages(hub: EventHub, where: EventFilter, after_id: int, renew: Renew) -> AsyncIterator[str]:
    waiting: asyncio.Queue[EventRow | None] = asyncio.Queue(MAX_BURST)
    reader = asyncio.create_task(_read(hub, where, after_id, waiting))
    ends_at = asyncio.get_running_loop().time() + LONGEST.total_seconds()
    try:
        # Opens the stream at once: the browser then knows that it is connected.
        yield ": connected\n\n"
        while asyncio.get_running_loop().time() < ends_at:
            burst, is_over = await _burst(waiting)
            try:
                html = await run_in_threadpool(renew, burst)
            except FleetError as error:
                # What the page shows is no longer to be seen, such as a device that was retired meanwhile.
                _log.info("a live page ended", code=error.code)
                html = None
            if html is None:
                yield "event: ended\ndata: ended\n\n"
                return
            if html:
                yield message(html, burst[-1].id if burst else None)
            if is_over:
                return
    finally:
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader


async def _read(hub: EventHub, where: EventFilter, after_id: int, waiting: asyncio.Queue[EventRow | None]) -> None:
    async for event in hub.subscribe(where, after_id):
        await waiting.put(event)
    await waiting.put(None)


async def _burst(waiting: asyncio.Queue[EventRow | None]) -> tuple[list[EventRow], bool]:
    """What is there by now, at least one event, or nothing when the beat is due."""
    burst: list[EventRow] = []
    try:
        event = await asyncio.wait_for(waiting.get(), BEAT.total_seconds())
    except TimeoutError:
        return burst, False
    while event is not None:
        burst.append(event)
        if waiting.empty() or len(burst) == MAX_BURST:
            return burst, False
        event = waiting.get_nowait()
    return burst, True


def message(html: str, event_id: int | None) -> str:
    lines = [f"id: {event_id}"] if event_id is not None else []
    lines += [f"data: {line}" for line in html.splitlines()]
    return "\n".join(lines) + "\n\n"


def partial(target: str, html: str, swap: str = "outerMorph") -> str:
    """A part of the page that is renewed in place; focus and open details stay."""
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{html}</hx-partial>'
