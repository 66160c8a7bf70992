"""Event streams over a real database, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Engine

from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from fleet_server.timeline import hub as hub_module
from fleet_server.timeline.hub import EventFilter, EventHub, EventRow
from fleet_server.timeline.writer import NewEvent, append_events

_DEADLINE_S = 20.0


def record(
    engine: Engine, *notes: str, device: str = "d-1", tenant: str = "default", execution: str | None = None
) -> None:
    now = utc_now()
    events = [NewEvent(device, "note", now, {"text": note}, execution_id=execution) for note in notes]
    with transaction(engine) as session:
        append_events(session, tenant, events, now)


async def texts(stream: AsyncIterator[EventRow], count: int) -> list[str]:
    return [(await asyncio.wait_for(anext(stream), _DEADLINE_S)).data["text"] for _ in range(count)]


def test_a_hint_reaches_only_those_who_asked_for_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        hub = EventHub(engine)
        await hub.start()
        whole = hub.subscribe(EventFilter("default"), 0)
        device = hub.subscribe(EventFilter("default", device_id="d-1"), 0)
        execution = hub.subscribe(EventFilter("default", execution_id="e-1"), 0)
        record(engine, "a", device="d-2")
        record(engine, "b", execution="e-1")
        record(engine, "c", tenant="elsewhere")
        record(engine, "d")
        hub.notify()
        assert await texts(whole, 3) == ["a", "b", "d"]
        assert await texts(device, 2) == ["b", "d"]
        assert await texts(execution, 1) == ["b"]
        await hub.stop()

    asyncio.run(body())


def test_catching_up_and_live_events_join_without_loss_or_repetition(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        record(engine, *[str(n) for n in range(10)])
        hub = EventHub(engine)
        await hub.start()
        stream = hub.subscribe(EventFilter("default", device_id="d-1"), 3)
        assert await texts(stream, 1) == ["3"]
        record(engine, "10", "11")
        hub.notify()
        assert await texts(stream, 8) == [str(n) for n in range(4, 12)]
        record(engine, "12")
        hub.notify()
        assert await texts(stream, 1) == ["12"]
        await hub.stop()

    asyncio.run(body())


def test_a_slow_listener_is_dropped_and_comes_back_with_its_last_id(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MAX_WAITING", 4)

    async def body() -> None:
        hub = EventHub(engine)
        await hub.start()
        where = EventFilter("default")
        stream = hub.subscribe(where)
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        record(engine, "0")
        hub.notify()
        row = await asyncio.wait_for(first, _DEADLINE_S)
        record(engine, *[str(n) for n in range(1, 8)])
        hub.notify()
        while not hub.dropped_listeners:  # noqa: ASYNC110 - the reader is a task of this loop
            await asyncio.sleep(0.01)
        rest = [one async for one in stream]
        again = hub.subscribe(where, rest[-1].id if rest else row.id)
        missing = 7 - len(rest)
        assert [one.data["text"] for one in rest] + await texts(again, missing) == [str(n) for n in range(1, 8)]
        await hub.stop()

    asyncio.run(body())


def test_a_lost_hint_costs_only_the_reading_interval(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "READ_EVERY_S", 0.05)

    async def body() -> None:
        hub = EventHub(engine)
        await hub.start()
        stream = hub.subscribe(EventFilter("default"))
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        record(engine, "unhinted")
        assert (await asyncio.wait_for(waiting, _DEADLINE_S)).data["text"] == "unhinted"
        await hub.stop()

    asyncio.run(body())


def test_stopping_ends_every_stream(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        hub = EventHub(engine)
        await hub.start()
        stream = hub.subscribe(EventFilter("default"))
        waiting = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        await hub.stop()
        assert await asyncio.wait_for(waiting, _DEADLINE_S) is None
        hub.notify()

    asyncio.run(body())


def test_what_is_recorded_while_a_listener_catches_up_comes_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = EventHub._read

    def read_late(hub: EventHub, after_id: int, where: EventFilter | None = None) -> list[EventRow]:
        if where is not None and after_id == 0:
            # Recorded and handed out after the listener began to listen, and before it reads what was there.
            record(engine, "meanwhile")
            hub._hand_out(read(hub, hub._last))
        return read(hub, after_id, where)

    async def body() -> None:
        hub = EventHub(engine)
        await hub.start()
        record(engine, "before")
        monkeypatch.setattr(EventHub, "_read", read_late)
        stream = hub.subscribe(EventFilter("default"), 0)
        assert await texts(stream, 2) == ["before", "meanwhile"]
        record(engine, "after")
        hub.notify()
        assert await texts(stream, 1) == ["after"]
        await hub.stop()

    asyncio.run(body())
