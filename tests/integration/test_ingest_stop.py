"""A worker that is told to stop finishes what it has: no agent has to send anything twice for it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, func, select

from fleet_server.db import open_engine, reading
from fleet_server.ingest import installation
from fleet_server.ingest.models import StoredRecord
from protocol.broker_rules import INGEST_NAMES
from protocol.records import Outcome, Verdict
from tests.support.broker import running_broker
from tests.support.engines import migrated_sqlite
from tests.support.fleet_rows import GATEWAY, OTHER, TERMINAL, make_fleet
from tests.support.ingest_worker import settings_for, worker_on
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration
_REPOSITORY = Path(__file__).parents[2]
_RECORD = StoredRecord.__table__  # type: ignore[attr-defined]  # SQLModel tables have it


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{migrated_sqlite(tmp_path)}")
    make_fleet(engine)
    yield engine
    engine.dispose()


def send_on(agent: WireAgent, stop: threading.Event) -> None:
    """Each batch once, and never again."""
    while not stop.wait(0.004):
        agent.send(Verdict("net.path", Outcome.PASS))


def test_no_batch_is_sent_twice_for_a_worker_that_was_told_to_stop(engine: Engine, tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(tmp_path / "broker"))
        settings = settings_for(broker, tmp_path, str(engine.url))
        file = tmp_path / "settings.json"
        file.write_bytes(msgspec.json.encode(asdict(settings), enc_hook=str))
        leaving = subprocess.Popen([sys.executable, "-m", "tests.support.ingest_child", str(file)], cwd=_REPOSITORY)
        stack.callback(leaving.kill)
        staying, stop = worker_on(engine, settings, name=INGEST_NAMES[1]), threading.Event()
        thread = threading.Thread(target=staying.run, args=(stop,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        agents = [WireAgent(broker, link) for link in (TERMINAL, OTHER, GATEWAY)]
        for agent in agents:
            agent.connect()
            stack.callback(agent.close)
        until(lambda: len(read_listening(engine)) == 2, "both workers to listen")
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
        stop.set()
        thread.join()
    with reading(engine) as session:
        stored = session.execute(select(func.count()).select_from(_RECORD)).scalar_one()
        left = installation.read_counters(session)[INGEST_NAMES[0]]
    assert stored == sum(sum(agent.next_seq.values()) - 2 for agent in agents)
    assert left["records"] > 0
    assert left["repeated"] == staying.counters["repeated"] == 0


def read_listening(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return [name for name, value in installation._workers(session).items() if value["listening_since"]]
