"""A worker that is killed, a broker that is restarted, a device that sends rubbish: nobody else is the worse for it."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from fleet_server.db import reading
from fleet_server.ingest.models import StoredRecord
from fleet_server.ingest.worker import Worker
from fleet_server.settings import ServerSettings
from fleet_server.timeline.models import Event
from protocol import codec
from protocol.records import Outcome, Verdict
from protocol.streams import StreamKind
from protocol.topics import Up
from tests.support.broker import Broker, running_broker
from tests.support.fleet_rows import OTHER, TERMINAL
from tests.support.ingest_worker import fleet_on_sqlite, running_ingest, settings_for, start_ingest, worker_on
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with fleet_on_sqlite(tmp_path) as opened:
        yield opened


@dataclass(slots=True)
class Child:
    """The worker as a process that the test kills and starts."""

    settings: ServerSettings
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = start_ingest(self.settings)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def _agent(stack: ExitStack, broker: Broker, link: str) -> WireAgent:
    agent = WireAgent(broker, link)
    agent.connect()
    stack.callback(agent.close)
    return agent


def _await_acks(agents: list[WireAgent], beyond: int) -> None:
    until(lambda: max(agent.acked() for agent in agents) > beyond, "some acknowledgements")


def _verdict(text: str) -> Verdict:
    return Verdict("net.path", Outcome.PASS, evidence=text)


def _send_until_acked(agents: list[WireAgent], last: int, deadline_s: float = 30.0) -> None:
    """As an agent does: again what is not acknowledged, until it is."""
    give_up_at = time.monotonic() + deadline_s
    while any(agent.acked() < last for agent in agents):
        assert time.monotonic() < give_up_at, [agent.acked() for agent in agents]
        for agent in agents:
            for first in range(agent.acked() + 1, last + 1, 10):
                texts = [f"{agent.link} {seq}" for seq in range(first, min(first + 10, last + 1))]
                agent.send_at(first, [codec.to_json(agent.record(_verdict(text))) for text in texts])
        time.sleep(0.4)


def test_a_worker_killed_at_any_moment_loses_and_doubles_nothing(
    broker: Broker, engine: Engine, tmp_path: Path
) -> None:
    dice = random.Random(5)
    child = Child(settings_for(broker, tmp_path, str(engine.url)))
    with ExitStack() as stack:
        agents = [_agent(stack, broker, link) for link in (TERMINAL, OTHER)]
        stack.callback(child.kill)
        child.start()
        for last in (120, 300, 500, 700):
            sender = threading.Thread(target=_send_until_acked, args=(agents, last))
            sender.start()
            _await_acks(agents, last - 150)
            time.sleep(dice.uniform(0.0, 0.05))
            child.kill()
            stored_at_death = {link: _stored(engine, link) for link in (TERMINAL, OTHER)}
            assert all(set(range(1, agent.acked() + 1)) <= stored_at_death[agent.link] for agent in agents)
            child.start()
            sender.join()
    expected = {f"{link} {seq}" for link in (TERMINAL, OTHER) for seq in range(1, 701)}
    with reading(engine) as session:
        verdicts = session.execute(select(Event).where(Event.__table__.c.type == "verdict")).scalars()  # type: ignore[attr-defined]  # SQLModel tables have it
        told = [one.data["evidence"] for one in verdicts]
    assert len(told) == len(expected)
    assert set(told) == expected


def _stored(engine: Engine, link: str) -> set[int]:
    table = StoredRecord.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
    with reading(engine) as session:
        return set(session.execute(select(table.c.seq).where(table.c.link_id == link)).scalars())


def test_a_restarted_broker_is_found_again_and_its_groups_subscribed_anew(
    broker: Broker, engine: Engine, tmp_path: Path
) -> None:
    with running_ingest(worker_on(engine, settings_for(broker, tmp_path))), ExitStack() as stack:
        agent = _agent(stack, broker, TERMINAL)
        agent.greet()
        broker.restart(kill=True)
        _send_until_acked([agent], 5)


def _came(worker: Worker) -> int:
    """Messages that were looked at, and those of a link beyond its quota, for its sender to send again."""
    return worker.counters["messages"] + worker.counters["put_off"]


def _await_messages(worker: Worker, beyond: int) -> None:
    until(lambda: _came(worker) > beyond, f"the worker to count more than {beyond} messages")


def _rubbish(dice: random.Random, agent: WireAgent) -> tuple[Up, bytes, str | None]:
    """Random bytes, good payloads with a few bytes changed, and good payloads of another kind."""
    kind = dice.choice([Up.HELLO, Up.CAPABILITIES, Up.URGENT, Up.BULK, Up.PRESENCE])
    content_type = dice.choice([None, codec.JSON, codec.JSON, codec.JSON_DEFLATE, "text/html"])
    choice = dice.random()
    if choice < 0.4:
        return kind, dice.randbytes(dice.randint(0, 300)), content_type
    record = codec.to_json(agent.record(_verdict("e" * dice.randint(0, 60))))
    payload = bytearray(b'{"stream":"%s","first_seq":%d,"records":[%s]}' % (b"f" * 32, dice.randint(1, 50), record))
    for _ in range(dice.randint(1, 6)):
        payload[dice.randrange(len(payload))] = dice.randrange(256)
    return kind, bytes(payload), content_type


def test_ten_thousand_bad_payloads_are_counted_and_another_device_is_unaffected(
    broker: Broker, engine: Engine, tmp_path: Path
) -> None:
    dice = random.Random(17)
    worker = worker_on(engine, settings_for(broker, tmp_path))
    with running_ingest(worker), ExitStack() as stack:
        rude, good = (_agent(stack, broker, link) for link in (TERMINAL, OTHER))
        good.greet()
        before = _came(worker)
        for number in range(10_000):
            rude.publish(*_rubbish(dice, rude))
            if number % 500 == 0:
                good.send(_verdict(f"good {number}"))
                # No more than the broker queues for one worker.
                _await_messages(worker, before + number - 200)
        good.await_ack(20)
        _await_messages(worker, before + 10_019)
    assert _came(worker) - before == 10_020
    assert worker.counters["lost"] == 0
    assert worker.counters["parked"] == 0
    assert worker.counters["dead"] > 9_000
    assert _stored(engine, OTHER) == set(range(1, 21))
    assert good.acked(StreamKind.URGENT) == 20
