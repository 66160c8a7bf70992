"""Live mode from an open stream to the agent and back, over a real broker. The agent's part is its own core."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx2
import pytest

from device_agent.core.instant import Instant
from device_agent.core.live import Live
from fleet_server.ingest import watching
from fleet_server.kit.times import utc_now
from fleet_server.live import asker
from protocol import codec
from protocol.identifiers import DeviceId
from protocol.live import LiveReport
from protocol.records import Sample
from protocol.session import Profile
from protocol.topics import Up
from tests.fleet_server.api import bearer
from tests.integration.server.conftest import Server
from tests.integration.server.event_stream import EventStream, followed
from tests.support.broker import Broker
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration
FOR_S = 3.0
INTRUDER = "d-intruder00001"


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asker, "ASK_FOR_S", FOR_S)
    monkeypatch.setattr(asker, "ASK_EVERY_S", 1.0)
    monkeypatch.setattr(watching, "SPACING_S", 0.5)


class Speaker:
    """What the agent's core says in live mode; ``said_at`` moments are monotonic."""

    def __init__(self, agent: WireAgent, *devices: str) -> None:
        self._agent = agent
        self._live = Live()
        self._latest: dict[DeviceId, dict[str, Sample]] = {DeviceId(one): {"net.rtt_ms": 21} for one in devices}
        self._taken = 0
        self.said_at: list[float] = []

    def tick(self) -> None:
        now = Instant(time.monotonic_ns(), utc_now())
        flows = self._agent.heard.flows[self._taken :]
        self._taken += len(flows)
        for flow in flows:
            self._live.on_flow(flow, now)
        for one in self._live.on_tick(self._latest, now):
            self.said_at.append(time.monotonic())
            self._agent.publish(one.kind, one.payload, one.content_type)


@contextmanager
def speaking(agent: WireAgent, *devices: str) -> Iterator[Speaker]:
    speaker, stop = Speaker(agent, *devices), threading.Event()

    def run() -> None:
        while not stop.wait(0.1):
            speaker.tick()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield speaker
    finally:
        stop.set()
        thread.join()


def follow(server: Server, device: str) -> AbstractContextManager[EventStream]:
    return followed(server.url, f"/api/v1/devices/{device}/live", bearer("viewer"))


def test_an_open_stream_makes_the_link_speak_and_a_closed_one_lets_it_fall_silent(
    server: Server, agent: WireAgent
) -> None:
    fleet = server.fleet
    agent.connect()
    agent.greet()
    with speaking(agent, fleet.gateway, fleet.terminal) as speaker:
        time_before = time.monotonic()
        with follow(server, fleet.terminal) as stream:
            told = stream.await_first(lambda one: bool(one["samples"]), "the first report")
            assert time.monotonic() - time_before < 5
            assert told["device"] == fleet.terminal
            assert told["samples"] == {"net.rtt_ms": 21}
            until(lambda: len(stream.events) >= 4, "reports beyond the first request")
            assert {one["device"] for _, one in stream.events} == {fleet.terminal}
        closed_at = time.monotonic()
        until(lambda: time.monotonic() - max(speaker.said_at) > 2 * FOR_S, "silence")
        # A closed stream shows with the next report; the last request before that still holds.
        assert max(speaker.said_at) - closed_at < FOR_S + 4
    flow = agent.heard.flows[0]
    assert (flow.profile, flow.report_s, flow.live_for_s) == (Profile.DEMO, 5.0, FOR_S)
    assert server.worker.counters["records"] == 0
    assert server.worker.counters["dead"] == 0


def test_a_link_cannot_speak_for_the_device_of_another(server: Server, agent: WireAgent, broker: Broker) -> None:
    terminal = server.fleet.terminal
    intruder = WireAgent(broker, INTRUDER)
    intruder.connect()
    agent.connect()
    try:
        with follow(server, terminal) as stream:
            forged = codec.to_json(LiveReport(terminal, 1, {"net.rtt_ms": 6_666}))
            intruder.publish(Up.LIVE, forged)
            not_its_own = codec.to_json(LiveReport(INTRUDER, 1, {"net.rtt_ms": 6_667}))
            agent.publish(Up.LIVE, not_its_own)
            agent.publish(Up.LIVE, b"nonsense")
            own = codec.to_json(LiveReport(terminal, 1, {"net.rtt_ms": 7, "biz.note": "card 4111111111111111"}))
            agent.publish(Up.LIVE, own)
            told = stream.await_first(lambda one: "net.rtt_ms" in one["samples"], "the report of its own link")
            assert told["samples"] == {"net.rtt_ms": 7, "biz.note": "card [PAN …1111]"}
            assert len(stream.events) == 1
        counted = httpx2.get(f"{server.url}/metrics").text
        assert 'tillmedic_live_total{counted="not_read"} 1.0' in counted
        assert 'tillmedic_live_total{counted="not_watched"} 2.0' in counted
    finally:
        intruder.close()
