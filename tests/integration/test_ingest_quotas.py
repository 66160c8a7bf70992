"""One link talks without end: the others are served as before, it is told to be slow, and loses nothing."""

from __future__ import annotations

import dataclasses
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.db import reading
from fleet_server.ingest.answers import SLOW_RECORDS_PER_S
from fleet_server.ingest.overuse import OVER_QUOTA
from fleet_server.timeline.models import Event
from protocol import codec
from protocol.records import Outcome, Verdict
from tests.support.broker import running_broker
from tests.support.fleet_rows import OTHER, TERMINAL
from tests.support.ingest_worker import fleet_on_sqlite, running_ingest, settings_for, worker_on
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration
FLOOD = 4000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with fleet_on_sqlite(tmp_path) as opened:
        yield opened


def waits_s(agent: WireAgent, count: int) -> list[float]:
    """How long each acknowledgement took; the next is sent a while after the last, as a device does."""
    waits = []
    for number in range(count):
        began_s = time.monotonic()
        agent.await_ack(agent.send(Verdict("net.path", Outcome.PASS, evidence=f"quiet {number}")))
        waits.append(time.monotonic() - began_s)
        time.sleep(0.05)
    return waits


def is_taken(agent: WireAgent) -> bool:
    """What was not acknowledged is sent again, until it is."""
    first = agent.acked() + 1
    agent.send_at(first, [codec.to_json(agent.record(Verdict("net.path", Outcome.PASS)))] * 20)
    time.sleep(0.3)
    return agent.acked() >= first + 19


def flood(agent: WireAgent, stop: threading.Event) -> None:
    """The same records again and again, as one does that takes no acknowledgement."""
    records = [codec.to_json(agent.record(Verdict("net.path", Outcome.PASS, evidence="loud")))]
    for number in range(FLOOD):
        if stop.is_set():
            return
        agent.send_at(number + 1, records)
        # A pause now and then: paho queues without end, a real device has a window.
        if number % 100 == 99:
            time.sleep(0.02)


def test_the_others_are_acknowledged_as_before_and_the_loud_one_is_slowed_and_told_once(
    engine: Engine, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(tmp_path / "broker"))
        settings = dataclasses.replace(settings_for(broker, tmp_path), link_messages_per_s=10)
        worker = worker_on(engine, settings)
        stack.enter_context(running_ingest(worker))
        loud, quiet = WireAgent(broker, TERMINAL), WireAgent(broker, OTHER)
        for agent in (loud, quiet):
            agent.connect()
            stack.callback(agent.close)
            agent.greet()
        before = waits_s(quiet, 15)
        calm = threading.Event()
        flooding = threading.Thread(target=flood, args=(loud, calm))
        flooding.start()
        try:
            until(lambda: worker.counters["put_off"] > 0, "something to be put off")
            during = waits_s(quiet, 15)
        finally:
            calm.set()
            flooding.join()
        assert statistics.median(during) < 3 * statistics.median(before) + 0.2
        assert quiet.acked() == 30
        until(lambda: any(one.drain_records_per_s == SLOW_RECORDS_PER_S for one in loud.heard.flows), "a slower pace")
        assert quiet.heard.flows == []
        with reading(engine) as session:
            events = session.exec(select(Event).where(Event.type == "security")).all()
        assert [(one.device_id, one.data["code"]) for one in events] == [(TERMINAL, OVER_QUOTA)]
        until(lambda: is_taken(loud), "what was put off to be taken when it is sent again")
