from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from fleet_server.console import live
from fleet_server.db import transaction
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.kit.times import utc_now
from fleet_server.live.hub import LiveUpdate
from fleet_server.timeline.hub import EventFilter, EventHub, EventRow
from fleet_server.timeline.writer import NewEvent, append_events
from tests.fleet_server.console.examples import TENANT, device_id

TILL = device_id("till_one")


def write(engine: Engine, count: int) -> list[int]:
    with transaction(engine) as session:
        return append_events(session, TENANT, [NewEvent(TILL, "note", utc_now(), {"text": "x"})] * count, utc_now())


async def told(engine: Engine, after_id: int, count: int) -> list[str]:
    """The first ``count`` messages of a stream, its opening left out."""
    hub = EventHub(engine)
    await hub.start()
    answer = live.stream(hub, EventFilter(TENANT, device_id=TILL), after_id, lambda burst: f"{len(burst)} new")
    messages: list[str] = []
    try:
        async for part in answer.body_iterator:
            messages.append(str(part))
            if len(messages) > count:
                break
    finally:
        await answer.body_iterator.aclose()  # type: ignore[attr-defined]  # it is an async generator
        await hub.stop()
    return messages[1:]


async def until_end(engine: Engine, after_id: int, renew: live.Renew) -> list[str]:
    hub = EventHub(engine)
    await hub.start()
    answer = live.stream(hub, EventFilter(TENANT, device_id=TILL), after_id, renew)
    messages = [str(part) async for part in answer.body_iterator]
    await hub.stop()
    return messages


def test_a_burst_is_one_message_with_the_id_of_its_last_event(console_engine: Engine) -> None:
    ids = write(console_engine, 3)
    assert asyncio.run(told(console_engine, ids[0] - 1, 1)) == [f"id: {ids[-1]}\ndata: 3 new\n\n"]


def test_a_browser_that_comes_back_gets_only_what_it_missed(console_engine: Engine) -> None:
    ids = write(console_engine, 3)
    assert asyncio.run(told(console_engine, ids[1], 1)) == [f"id: {ids[-1]}\ndata: 1 new\n\n"]


def test_a_beat_has_no_id_so_nothing_is_skipped_after_it(
    console_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = write(console_engine, 1)
    monkeypatch.setattr(live, "BEAT", timedelta(milliseconds=5))
    assert asyncio.run(told(console_engine, ids[-1], 2)) == ["data: 0 new\n\n"] * 2


def test_html_of_many_lines_stays_one_message() -> None:
    assert live.message("a\nb\r\nc", 7) == "id: 7\ndata: a\ndata: b\ndata: c\n\n"


def test_a_device_that_is_retired_meanwhile_ends_its_stream(console_engine: Engine) -> None:
    ids = write(console_engine, 1)

    def gone(_burst: Sequence[EventRow]) -> str:
        raise DeviceNotFound(TILL)

    assert asyncio.run(until_end(console_engine, ids[0] - 1, gone))[-1] == "event: ended\ndata: ended\n\n"


def test_a_renewal_that_has_no_more_to_say_tells_the_browser_to_stop(console_engine: Engine) -> None:
    ids = write(console_engine, 1)

    assert (
        asyncio.run(until_end(console_engine, ids[0] - 1, lambda _burst: None))[-1] == "event: ended\ndata: ended\n\n"
    )


class _Said:
    """A device that says something every 20 ms."""

    def __init__(self) -> None:
        self.said = 0

    async def updates(self) -> AsyncIterator[LiveUpdate]:
        while True:
            await asyncio.sleep(0.02)
            self.said += 1
            yield LiveUpdate(TILL, utc_now(), {"net.rtt_ms": self.said}, [])


def test_live_messages_carry_no_id_and_put_off_no_beat(console_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT", timedelta(seconds=0.2))
    monkeypatch.setattr(live, "LONGEST", timedelta(seconds=1))

    async def body() -> list[str]:
        hub = EventHub(console_engine)
        await hub.start()
        side = live.LiveSide(_Said().updates(), lambda update: f"live {update.samples['net.rtt_ms']}")
        answer = live.stream(hub, EventFilter(TENANT, device_id=TILL), 0, lambda burst: f"{len(burst)} new", side)
        messages = [str(part) async for part in answer.body_iterator]
        await hub.stop()
        return messages

    messages = asyncio.run(body())
    assert sum("0 new" in one for one in messages) >= 2
    alone = [one for one in messages if one.startswith("data: live") and "new" not in one]
    assert len(alone) > 5


def test_a_live_source_that_ends_does_not_end_the_page(console_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT", timedelta(seconds=0.05))

    async def nothing() -> AsyncIterator[LiveUpdate]:
        return
        yield

    async def body() -> list[str]:
        hub = EventHub(console_engine)
        await hub.start()
        side = live.LiveSide(nothing(), lambda _update: "live")
        answer = live.stream(hub, EventFilter(TENANT, device_id=TILL), 10**9, lambda burst: f"{len(burst)} new", side)
        messages: list[str] = []
        async for part in answer.body_iterator:
            messages.append(str(part))
            if len(messages) == 4:
                break
        await answer.body_iterator.aclose()  # type: ignore[attr-defined]  # it is an async generator
        await hub.stop()
        return messages

    assert asyncio.run(body())[1:] == ["data: 0 new\n\n"] * 3
