"""A worker that dies without a word keeps nothing back: the broker gives nothing to a session that nobody reads."""

from __future__ import annotations

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
from sqlalchemy import Engine

from fleet_server.db import open_engine, reading
from fleet_server.ingest.installation import _workers
from protocol import codec
from protocol.broker_rules import INGEST_NAMES
from protocol.records import Outcome, Verdict
from tests.support.broker import running_broker
from tests.support.engines import migrated_sqlite
from tests.support.fleet_rows import OTHER, TERMINAL, make_fleet
from tests.support.ingest_worker import settings_for, worker_on
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration
_REPOSITORY = Path(__file__).parents[2]
VERDICT = Verdict("net.path", Outcome.PASS)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{migrated_sqlite(tmp_path)}")
    make_fleet(engine)
    yield engine
    engine.dispose()


def listening(engine: Engine) -> int:
    with reading(engine) as session:
        return sum(bool(value["listening_since"]) for value in _workers(session).values())


def test_what_comes_after_the_death_of_a_worker_is_taken_by_the_others_at_once(engine: Engine, tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(tmp_path / "broker"))
        settings = settings_for(broker, tmp_path, str(engine.url))
        file = tmp_path / "settings.json"
        file.write_bytes(msgspec.json.encode(asdict(settings), enc_hook=str))
        dying = subprocess.Popen([sys.executable, "-m", "tests.support.ingest_child", str(file)], cwd=_REPOSITORY)
        stack.callback(dying.kill)
        staying, stop = worker_on(engine, settings, name=INGEST_NAMES[1]), threading.Event()
        thread = threading.Thread(target=staying.run, args=(stop,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        busy, quiet = WireAgent(broker, TERMINAL), WireAgent(broker, OTHER)
        for agent in (busy, quiet):
            agent.connect()
            stack.callback(agent.close)
        until(lambda: listening(engine) == 2, "both workers to listen")
        for _ in range(300):
            last = busy.send(VERDICT)
        dying.kill()
        dying.wait()
        # The broker sees the closed socket in its next turn.
        time.sleep(0.5)
        for _ in range(60):
            until_here = quiet.send(VERDICT)
        began_s = time.monotonic()
        quiet.await_ack(until_here)
        assert time.monotonic() - began_s < 10, "less than the timer after which agents send again"
        # What the dead one had taken is with its sender, whose timer sends it again: once is enough.
        first = busy.acked() + 1
        for one in range(first, last + 1):
            busy.send_at(one, [codec.to_json(busy.record(VERDICT))])
        busy.await_ack(last)
