"""When the word that somebody watches is given, and when not."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from fleet_server.live import asker as asker_module
from fleet_server.live.asker import ASK_EVERY_S, ASK_FOR_S, LiveAsker, Throttle
from fleet_server.live.hub import LiveHub, Watched
from protocol.live import WatchRequest
from protocol.topics import WATCH

LINK, OTHER = "d-gateway00001", "d-gateway00002"


def test_a_link_is_due_at_once_and_then_every_ten_seconds() -> None:
    throttle, asked = Throttle(), []
    for second in range(31):
        for link in throttle.due([LINK], float(second)):
            throttle.note(link, float(second))
            asked.append(second)
    assert asked == [0, 10, 20, 30]
    assert ASK_FOR_S > ASK_EVERY_S, "a link must not fall silent between two requests"


def test_a_page_that_is_opened_again_and_again_asks_no_more_often() -> None:
    throttle = Throttle()
    throttle.note(LINK, 0.0)
    assert throttle.due([LINK, OTHER], 3.0) == [OTHER]
    assert throttle.due([], 5.0) == []
    assert throttle.due([LINK], 5.0) == []


def test_links_that_nobody_watches_any_more_are_forgotten() -> None:
    throttle = Throttle()
    for number in range(1000):
        throttle.note(f"d-{number:012d}", float(number))
        throttle.due([], float(number))
    assert len(throttle._asked_s) <= ASK_EVERY_S


def test_what_the_broker_did_not_take_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asker_module, "_LOOK_EVERY_S", 0.01)
    said: list[tuple[str, bytes, int]] = []

    def refusing_first(topic: str, payload: bytes, qos: int) -> bool:
        said.append((topic, payload, qos))
        return len(said) > 2

    async def body() -> None:
        hub = LiveHub()
        hub.start()
        asking = asyncio.create_task(LiveAsker(hub, refusing_first).run())
        await asyncio.sleep(0.05)
        assert said == []
        stream = hub.subscribe(Watched("d-till00000001", LINK))
        waiting = asyncio.ensure_future(anext(stream, None))
        for _ in range(200):
            await asyncio.sleep(0.01)
            if hub.counters["asked"]:
                break
        await asyncio.sleep(0.05)
        await hub.stop()
        await waiting
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(body())
    assert len(said) == 3
    assert said[0][0] == WATCH
    assert msgspec.json.decode(said[0][1], type=WatchRequest) == WatchRequest(LINK, ASK_FOR_S)
