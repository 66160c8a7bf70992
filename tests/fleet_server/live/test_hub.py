"""Who gets which live report, and what happens to those nobody can take."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from fleet_server.live import hub as hub_module
from fleet_server.live.hub import MAX_WAITING, REPORTS_BURST, LiveHub, LiveUpdate, Watched
from fleet_server.mqtt import Received
from protocol import codec
from protocol.live import LiveProgress, LiveReport
from protocol.records import Sample

LINK, OTHER_LINK = "d-gateway00001", "d-gateway00002"
TILL, PRINTER = "d-till00000001", "d-printer00001"
RUN = "0198c0de-0000-7000-8000-000000000001"
_DEADLINE_S = 20.0


def report(link: str, device: str, value: Sample = 1) -> Received:
    payload = codec.encode(LiveReport(device, 1, {"net.rtt_ms": value}), deflate=True)
    return Received(f"fleet/v1/{link}/up/live", payload.payload, payload.content_type, 0, 0)


async def opened(hub: LiveHub, watched: Watched) -> tuple[AsyncIterator[LiveUpdate], asyncio.Task[LiveUpdate | None]]:
    """A stream and its first report, which it is waiting for already."""
    stream = hub.subscribe(watched)
    first: asyncio.Task[LiveUpdate | None] = asyncio.ensure_future(anext(stream, None))
    await asyncio.sleep(0)
    return stream, first


def from_broker(hub: LiveHub, *messages: Received) -> None:
    """As it is in the program: in a thread that is not the loop's."""

    def run() -> None:
        for one in messages:
            hub.on_message(one)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


async def values(stream: AsyncIterator[LiveUpdate], count: int) -> list[Sample]:
    return [(await asyncio.wait_for(anext(stream), _DEADLINE_S)).samples["net.rtt_ms"] for _ in range(count)]


def test_a_report_reaches_those_who_watch_its_device_on_its_link() -> None:
    async def body() -> None:
        hub = LiveHub()
        hub.start()
        _, first = await opened(hub, Watched(TILL, LINK))
        _, printer = await opened(hub, Watched(PRINTER, LINK))
        from_broker(hub, report(OTHER_LINK, TILL, 666), report(LINK, OTHER_LINK), report(LINK, TILL, 7))
        update = await asyncio.wait_for(first, _DEADLINE_S)
        assert update is not None
        assert (update.device_id, update.samples) == (TILL, {"net.rtt_ms": 7})
        assert not printer.done()
        assert hub.counters == Counter(not_watched=2, handed_out=1)
        await hub.stop()
        assert await asyncio.wait_for(printer, _DEADLINE_S) is None

    asyncio.run(body())


def test_a_slow_watcher_gets_the_newest_reports() -> None:
    async def body() -> None:
        hub = LiveHub()
        hub.start()
        stream, first = await opened(hub, Watched(TILL, LINK))
        from_broker(hub, report(LINK, TILL, 0))
        await asyncio.wait_for(first, _DEADLINE_S)
        from_broker(hub, *(report(LINK, TILL, number) for number in range(1, 20)))
        await asyncio.sleep(0.01)
        assert await values(stream, MAX_WAITING) == [16, 17, 18, 19]
        assert hub.counters["dropped"] == 15

    asyncio.run(body())


def test_a_link_that_floods_is_cut_short_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)

    async def body() -> None:
        hub = LiveHub()
        hub.start()
        await opened(hub, Watched(TILL, LINK))
        for _ in range(REPORTS_BURST + 50):
            hub.on_message(report(LINK, TILL))
        assert hub.counters["too_many"] == 50

    asyncio.run(body())


def test_a_loop_that_stands_still_is_not_buried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_HANDED", 3)

    async def body() -> None:
        hub = LiveHub()
        hub.start()
        await opened(hub, Watched(TILL, LINK))
        from_broker(hub, *(report(LINK, TILL, number) for number in range(10)))
        assert hub.counters["dropped"] == 7
        await asyncio.sleep(0.01)
        from_broker(hub, report(LINK, TILL))
        assert hub.counters["dropped"] == 7

    asyncio.run(body())


def test_more_streams_than_one_process_bears_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_LISTENERS", 1)

    async def body() -> None:
        hub = LiveHub()
        stream, first = await opened(hub, Watched(TILL, LINK))
        assert hub.is_full
        assert [one async for one in hub.subscribe(Watched(TILL, LINK))] == []
        await hub.stop()
        assert await asyncio.wait_for(first, _DEADLINE_S) is None
        assert [one async for one in stream] == []
        assert not hub.is_full

    asyncio.run(body())


def test_a_stream_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LONGEST_S", 0.05)

    async def body() -> None:
        hub = LiveHub()
        assert [one async for one in hub.subscribe(Watched(TILL, LINK))] == []
        assert hub.links(0.0) == set()

    asyncio.run(body())


def test_a_link_is_to_be_asked_while_one_of_its_watchers_may_still_ask() -> None:
    async def body() -> None:
        hub = LiveHub()
        streams = [hub.subscribe(Watched(TILL, LINK), 50.0), hub.subscribe(Watched(PRINTER, LINK), 70.0)]
        waiting = [asyncio.ensure_future(anext(stream, None)) for stream in streams]
        await asyncio.sleep(0)
        assert (hub.links(49.0), hub.links(60.0), hub.links(70.0)) == ({LINK}, {LINK}, set())
        await hub.stop()
        await asyncio.gather(*waiting)
        assert hub.links(0.0) == set()

    asyncio.run(body())


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"device":"d-till00000001"}',
        b'{"device":"d-till00000001","wall_ms":1,"samples":{"net.rtt_ms":99999999999999999999}}',
        b'{"device":"d-till00000001","wall_ms":1,"more":1}',
        b'{"device":"d-till00000001","wall_ms":1,"samples":{"<b>":1}}',
    ],
)
def test_what_is_no_report_is_counted_and_goes_no_further(payload: bytes) -> None:
    async def body() -> None:
        hub = LiveHub()
        hub.start()
        _, first = await opened(hub, Watched(TILL, LINK))
        from_broker(hub, Received(f"fleet/v1/{LINK}/up/live", payload, None, 0, 0), Received("other", b"", None, 0, 0))
        await asyncio.sleep(0.01)
        assert not first.done()
        assert hub.counters == Counter(not_read=2)

    asyncio.run(body())


def test_card_data_goes_no_further() -> None:
    async def body() -> None:
        hub = LiveHub()
        hub.start()
        _, first = await opened(hub, Watched(TILL, LINK))
        said = LiveReport(
            TILL, 1, {"app.last": "4111111111111111"}, [LiveProgress(RUN, 10, "read 4111111111111111 here")]
        )
        from_broker(hub, Received(f"fleet/v1/{LINK}/up/live", codec.to_json(said), None, 0, 0))
        update = await asyncio.wait_for(first, _DEADLINE_S)
        assert update is not None
        assert "411111111111" not in f"{update.samples}{update.progress}"

    asyncio.run(body())
