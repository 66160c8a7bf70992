"""The device door with a real broker: one worker in a thread, wire-level agents."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from fleet_server.db import open_engine, reading
from fleet_server.devices.models import Device
from fleet_server.ingest.models import StoredRecord
from fleet_server.ingest.worker import Worker
from fleet_server.timeline.models import Event
from protocol.records import FaultRaised, Severity
from tests.support.broker import Broker, running_broker
from tests.support.engines import migrated_sqlite
from tests.support.fleet_rows import TERMINAL, make_fleet
from tests.support.ingest_worker import settings_for, worker_on
from tests.support.wire_agent import WireAgent

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Running:
    engine: Engine
    worker: Worker


@pytest.fixture
def running(broker: Broker, tmp_path: Path) -> Iterator[Running]:
    engine = open_engine(f"sqlite:///{migrated_sqlite(tmp_path)}")
    make_fleet(engine)
    worker = worker_on(engine, settings_for(broker, tmp_path))
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield Running(engine, worker)
    finally:
        stop.set()
        thread.join()
        engine.dispose()


@pytest.fixture
def agent(broker: Broker) -> Iterator[WireAgent]:
    agent = WireAgent(broker, TERMINAL)
    agent.connect()
    yield agent
    agent.close()


def paper_out(raised_ms: int) -> FaultRaised:
    return FaultRaised("escpos.PAPER_OUT", Severity.MAJOR, raised_ms, raised_ms, evidence="paper end sensor")


def events_of(engine: Engine, device: str, type_: str) -> list[Event]:
    with reading(engine) as session:
        statement = select(Event).where(Event.device_id == device, Event.type == type_).order_by(Event.id)  # type: ignore[arg-type]  # SQLModel types columns as their values
        return list(session.execute(statement).scalars())


def test_a_hello_is_welcomed_and_a_fault_is_acknowledged_only_once_it_is_stored(
    running: Running, agent: WireAgent
) -> None:
    welcome = agent.greet()
    assert welcome.want_capabilities
    assert welcome.flow.keepalive_s == 10.0
    agent.await_ack(agent.send(paper_out(agent.wall_ms())))
    with reading(running.engine) as session:
        assert session.execute(select(StoredRecord.kind)).scalars().all() == ["fault_raised"]
        device = session.get(Device, TERMINAL)
        assert device is not None
        assert (device.presence, device.condition, device.worst_code) == ("online", "faulty", "escpos.PAPER_OUT")
    assert [one.data["status"] for one in events_of(running.engine, TERMINAL, "presence")] == ["online"]
    raised = events_of(running.engine, TERMINAL, "fault_raised")
    assert [one.data["code"] for one in raised] == ["escpos.PAPER_OUT"]
