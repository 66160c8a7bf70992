"""The device door with a real broker: one worker in a thread, wire-level agents."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Capability, Device
from fleet_server.enrollment.retirement import Reason, Retirements
from fleet_server.faults.models import Fault
from fleet_server.ingest.models import StoredRecord
from fleet_server.ingest.worker import Worker
from fleet_server.kit.times import utc_now
from fleet_server.mqtt import ServerLink
from fleet_server.timeline.models import Event
from protocol import codec
from protocol.broker_rules import API_NAMES
from protocol.capabilities import Capabilities, DeviceCapabilities
from protocol.records import FaultCleared, FaultRaised, HealthColumns, Severity
from protocol.streams import StreamKind
from protocol.topics import EVENTS, Up
from tests.support.broker import Broker, running_broker
from tests.support.fleet_rows import GATEWAY, PRINTER, TERMINAL
from tests.support.ingest_worker import fleet_on_sqlite, running_ingest, settings_for, worker_on
from tests.support.wire_agent import WireAgent, until

OPERATOR = Actor("p-1", "lin", Role.OPERATOR, "default", ActorKind.PERSON)
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
    with fleet_on_sqlite(tmp_path) as engine:
        worker = worker_on(engine, settings_for(broker, tmp_path))
        with running_ingest(worker):
            yield Running(engine, worker)


@pytest.fixture
def agent(broker: Broker) -> Iterator[WireAgent]:
    agent = WireAgent(broker, TERMINAL)
    agent.connect()
    yield agent
    agent.close()


def paper_out(raised_ms: int) -> FaultRaised:
    return FaultRaised("escpos.PAPER_OUT", Severity.MAJOR, raised_ms, raised_ms, evidence="paper end sensor")


def cleared(raised_ms: int) -> FaultCleared:
    return FaultCleared("escpos.PAPER_OUT", raised_ms, raised_ms + 1000)


def events_of(engine: Engine, device: str, type_: str) -> list[Event]:
    with reading(engine) as session:
        statement = select(Event).where(Event.device_id == device, Event.type == type_).order_by(col(Event.id))
        return list(session.exec(statement))


def test_a_hello_is_welcomed_and_a_fault_is_acknowledged_only_once_it_is_stored(
    running: Running, agent: WireAgent
) -> None:
    welcome = agent.greet()
    assert welcome.want_capabilities
    assert welcome.flow.keepalive_s == 10.0
    agent.await_ack(agent.send(paper_out(agent.wall_ms())))
    with reading(running.engine) as session:
        assert session.exec(select(StoredRecord.kind)).all() == ["fault_raised"]
        device = session.get(Device, TERMINAL)
        assert device is not None
        assert (device.presence, device.condition, device.worst_code) == ("online", "faulty", "escpos.PAPER_OUT")
    assert [one.data["status"] for one in events_of(running.engine, TERMINAL, "presence")] == ["online"]
    raised = events_of(running.engine, TERMINAL, "fault_raised")
    assert [one.data["code"] for one in raised] == ["escpos.PAPER_OUT"]


def test_a_link_that_drops_is_offline_by_its_will_and_one_that_stops_by_its_goodbye(
    running: Running, broker: Broker
) -> None:
    agent = WireAgent(broker, GATEWAY, attached=(PRINTER,))
    agent.connect()
    agent.greet()
    agent.vanish()
    until(lambda: presence_of(running.engine, GATEWAY) == ("offline", "connection lost"), "the will")
    assert presence_of(running.engine, PRINTER) == ("unknown", "gateway")
    again = WireAgent(broker, GATEWAY, attached=(PRINTER,))
    again.connect()
    again.greet()
    assert presence_of(running.engine, PRINTER)[0] == "online"
    again.goodbye()
    until(lambda: presence_of(running.engine, GATEWAY) == ("offline", "stopped"), "the goodbye")
    again.close()


def test_what_a_link_says_is_refused_within_five_seconds_of_its_retirement_though_the_broker_lets_it_speak(
    running: Running, agent: WireAgent
) -> None:
    agent.greet()
    agent.await_ack(agent.send(paper_out(agent.wall_ms())))
    with transaction(running.engine) as session:
        Retirements(session, OPERATOR, utc_now()).retire(TERMINAL, Reason.STOLEN)
    began_s = time.monotonic()
    said = 0

    def is_refused() -> bool:
        nonlocal said
        agent.send(paper_out(agent.wall_ms()))
        said += 1
        time.sleep(0.1)
        return running.worker.counters["stranger"] > 0

    until(is_refused, "the link is a stranger")
    refused_s = time.monotonic() - began_s
    sys.stdout.write(f"data refused after {refused_s:.3f} s, the broker letting it through\n")
    assert refused_s <= 5
    with reading(running.engine) as session:
        stored = len(session.exec(select(StoredRecord.kind)).all())
    before = running.worker.counters["stranger"]
    agent.send(paper_out(agent.wall_ms()))
    until(lambda: running.worker.counters["stranger"] > before, "the next one is refused")
    with reading(running.engine) as session:
        assert len(session.exec(select(StoredRecord.kind)).all()) == stored


def test_a_gateway_that_names_anothers_device_moves_nothing_of_it(running: Running, broker: Broker) -> None:
    """In its hello, in what it declares, and in its records."""
    thief = WireAgent(broker, TERMINAL, attached=(PRINTER,))
    thief.connect()
    try:
        thief.greet()
        with reading(running.engine) as session:
            before = session.get(Device, PRINTER)
            assert before is not None
        thief.publish(
            Up.CAPABILITIES, codec.to_json(Capabilities([DeviceCapabilities(PRINTER, "escpos", "traditional", [])]))
        )
        sent = thief.send(paper_out(thief.wall_ms()), device=PRINTER)
        thief.await_ack(sent)
        with reading(running.engine) as session:
            after = session.get(Device, PRINTER)
            assert after is not None
            assert session.exec(select(Fault)).all() == []
            assert session.get(Capability, PRINTER) is None
        assert running.worker.counters["dead.foreign_device"] == 1
        watched = ("presence", "link_id", "boot", "last_seen_at", "capability_digest", "firmware")
        assert [getattr(after, name) for name in watched] == [getattr(before, name) for name in watched]
        assert (after.presence, after.last_seen_at) == ("unknown", None)
    finally:
        thief.close()


def test_columns_are_acknowledged_on_their_own_stream(running: Running, agent: WireAgent) -> None:
    agent.greet()
    columns = HealthColumns(agent.wall_ms(), 1000, 3, {"batt.level_pct": [80.0, None, 79.0]})
    agent.await_ack(agent.send(columns, kind=StreamKind.BULK), StreamKind.BULK)
    assert agent.acked(StreamKind.URGENT) == 0


def test_batches_that_arrive_out_of_order_or_twice_are_told_once(running: Running, agent: WireAgent) -> None:
    agent.greet()
    raised_ms = agent.wall_ms()
    plain = [codec.to_json(agent.record(body)) for body in (paper_out(raised_ms), cleared(raised_ms))]
    for first in (2, 2, 1, 1, 2):
        agent.send_at(first, plain[first - 1 : first])
    agent.await_ack(2)
    until(lambda: running.worker.counters["repeated"] >= 3, "the repetitions")
    with reading(running.engine) as session:
        (fault,) = session.exec(select(Fault)).all()
    assert not fault.is_open
    assert len(events_of(running.engine, TERMINAL, "fault_raised")) == 1
    assert len(events_of(running.engine, TERMINAL, "fault_cleared")) == 1


def presence_of(engine: Engine, device: str) -> tuple[str, str]:
    with reading(engine) as session:
        row = session.get(Device, device)
    assert row is not None
    return row.presence, row.presence_reason


def test_ids_of_new_events_are_hinted_to_every_api_process_also_after_a_broker_restart(
    running: Running, broker: Broker, tmp_path: Path
) -> None:
    hinted: list[int] = []
    link = ServerLink(
        settings_for(broker, tmp_path / "api"),
        API_NAMES[0],
        lambda message: hinted.extend(msgspec.json.decode(message.payload, type=list[int])),
        [(EVENTS, 0)],
    )
    link.start()
    agent = WireAgent(broker, TERMINAL)
    try:
        until(lambda: link.is_connected, "the link")
        agent.connect()
        agent.greet()
        agent.await_ack(agent.send(paper_out(agent.wall_ms())))
        (raised,) = events_of(running.engine, TERMINAL, "fault_raised")
        until(lambda: raised.id in hinted, "the hint")
        broker.restart(kill=True)
        until(lambda: link.is_connected, "the link again")
        agent.greet()
        agent.send(cleared(agent.wall_ms()))
        until(lambda: max(hinted) > (raised.id or 0), "a hint after the restart")
        (gone,) = events_of(running.engine, TERMINAL, "fault_cleared")
        assert gone.id in hinted
    finally:
        agent.close()
        link.stop()
