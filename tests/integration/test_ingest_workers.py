"""Two workers share the door on PostgreSQL: they commit in any order, and still each record counts once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet_server.db import reading
from fleet_server.faults.models import Fault
from fleet_server.ingest.models import LinkStream, StoredRecord
from fleet_server.timeline.models import Event
from protocol import codec
from protocol.broker_rules import INGEST_NAMES
from protocol.records import FaultCleared, FaultRaised, RecordBody, Severity
from tests.support.broker import running_broker
from tests.support.engines import migrated_postgres, postgres_engine
from tests.support.fleet_rows import GATEWAY, OTHER, PINPAD, PRINTER, TERMINAL, make_fleet
from tests.support.ingest_worker import settings_for, worker_on
from tests.support.wire_agent import WireAgent, until

pytestmark = [pytest.mark.integration, pytest.mark.postgres]
_LINKS = (GATEWAY, TERMINAL, OTHER)
_FAULTS = 60  # of each link; each is raised and cleared


@pytest.fixture
def engine() -> Iterator[Engine]:
    with migrated_postgres() as server, postgres_engine(server) as opened:
        make_fleet(opened)
        yield opened


def _story(agent: WireAgent) -> list[bytes]:
    """Faults of the link and of what hangs on it, raised and cleared."""
    speakers = (agent.link, PRINTER, PINPAD) if agent.link == GATEWAY else (agent.link,)
    start_ms = agent.wall_ms() - 3_600_000
    records: list[bytes] = []
    for number in range(_FAULTS):
        speaker, at_ms = speakers[number % len(speakers)], start_ms + number * 1000
        bodies: tuple[RecordBody, ...] = (
            FaultRaised(f"term.t{number}", Severity.MINOR, at_ms, at_ms),
            FaultCleared(f"term.t{number}", at_ms, at_ms + 500),
        )
        records += [codec.to_json(agent.record(body, speaker)) for body in bodies]
    return records


def test_two_workers_lose_and_double_nothing(engine: Engine, tmp_path: Path) -> None:
    dice = random.Random(23)
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(tmp_path / "broker"))
        settings = settings_for(broker, tmp_path)
        workers = [worker_on(engine, settings, name=name) for name in INGEST_NAMES[:2]]
        stop = threading.Event()
        threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in workers]
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        stack.callback(stop.set)
        agents = [WireAgent(broker, link) for link in _LINKS]
        for agent in agents:
            agent.connect()
            stack.callback(agent.close)
            agent.greet()
        batches = [
            (agent, first, records[first - 1 : first + 3])
            for agent in agents
            for records in [_story(agent)]
            for first in range(1, len(records) + 1, 4)
        ]
        for _ in range(2):
            dice.shuffle(batches)
            for agent, first, records in batches:
                agent.send_at(first, records)
        for agent in agents:
            agent.await_ack(2 * _FAULTS)
        until(lambda: sum(w.counters["records"] + w.counters["repeated"] for w in workers) >= 12 * _FAULTS, "all of it")
    assert all(worker.counters["records"] for worker in workers), "both had their share"
    assert [sum(worker.counters[name] for worker in workers) for name in ("dead", "parked", "lost")] == [0, 0, 0]
    with reading(engine) as session:
        assert len(session.exec(select(StoredRecord.seq)).all()) == len(_LINKS) * 2 * _FAULTS
        faults = session.exec(select(Fault)).all()
        assert (len(faults), [one.code for one in faults if one.is_open]) == (len(_LINKS) * _FAULTS, [])
        told = session.exec(select(Event.type).where(col(Event.type).startswith("fault_"))).all()
        assert len(told) == len(_LINKS) * 2 * _FAULTS
        assert {tuple(one.beyond) for one in session.exec(select(LinkStream)).all()} == {()}
