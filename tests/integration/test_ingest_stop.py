"""A worker that is told to stop finishes what it has: no agent has to send anything twice for it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from fleet_server.db import reading
from fleet_server.ingest import installation
from fleet_server.ingest.models import StoredRecord
from protocol.broker_rules import INGEST_NAMES
from protocol.records import Outcome, Verdict
from tests.support.broker import running_broker
from tests.support.fleet_rows import GATEWAY, OTHER, TERMINAL
from tests.support.ingest_worker import (
    fleet_on_sqlite,
    listening_workers,
    running_ingest,
    settings_for,
    start_ingest,
    worker_on,
)
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration
_RECORD = StoredRecord.__table__  # type: ignore[attr-defined]  # SQLModel tables have it


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with fleet_on_sqlite(tmp_path) as opened:
        yield opened


def send_on(agent: WireAgent, stop: threading.Event) -> None:
    """Each batch once, and never again."""
    while not stop.wait(0.004):
        agent.send(Verdict("net.path", Outcome.PASS))


def test_no_batch_is_sent_twice_for_a_worker_that_was_told_to_stop(engine: Engine, tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(tmp_path / "broker"))
        settings = settings_for(broker, tmp_path, str(engine.url))
        leaving = start_ingest(settings)
        stack.callback(leaving.kill)
        staying = worker_on(engine, settings, name=INGEST_NAMES[1])
        stack.enter_context(running_ingest(staying))
        agents = [WireAgent(broker, link) for link in (TERMINAL, OTHER, GATEWAY)]
        for agent in agents:
            agent.connect()
            stack.callback(agent.close)
        until(lambda: len(listening_workers(engine)) == 2, "both workers to listen")
        quiet = threading.Event()
        senders = [threading.Thread(target=send_on, args=(agent, quiet)) for agent in agents]
        stack.callback(quiet.set)
        for sender in senders:
            sender.start()
        until(lambda: all(agent.acked() > 50 for agent in agents), "both to be at work")
        leaving.send_signal(signal.SIGTERM)
        assert leaving.wait(20) == 0
        time.sleep(0.2)
        quiet.set()
        for sender in senders:
            sender.join()
        for agent in agents:
            agent.await_ack(agent.next_seq[next(iter(agent.next_seq))] - 1)
    with reading(engine) as session:
        stored = session.execute(select(func.count()).select_from(_RECORD)).scalar_one()
        left = installation.read_counters(session)[INGEST_NAMES[0]]
    assert stored == sum(sum(agent.next_seq.values()) - 2 for agent in agents)
    assert left["records"] > 0
    assert left["repeated"] == staying.counters["repeated"] == 0
